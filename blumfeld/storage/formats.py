"""The fixed binary layouts of a log directory, declared once with construct.

Owns the declarations that documents, tools and tests read; the hot paths have the same layouts as `struct` formats,
and a test holds the two together. Import it in tools, tests and cold paths only: construct is slow to import and to
run."""

from __future__ import annotations

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Computed,
    Flag,
    GreedyRange,
    Int8sb,
    Int16sb,
    Int32sb,
    Int32ub,
    Int64sb,
    Padding,
    Struct,
    this,
)

OffsetIndexEntry = Struct("relative_offset" / Int32sb, "position" / Int32sb)
"""`.index`: the last offset of a batch, relative to the segment's base, and where the batch starts."""

TimeIndexEntry = Struct("timestamp" / Int64sb, "relative_offset" / Int32sb)
"""`.timeindex`: the largest timestamp so far, and the last offset of the batch that has it."""

TransactionIndexEntry = Struct(
    "version" / Int16sb,
    "producer_id" / Int64sb,
    "first_offset" / Int64sb,
    "last_offset" / Int64sb,
    "last_stable_offset" / Int64sb,
)
"""`.txnindex`: an aborted transaction (version 0)."""

OffsetIndex = GreedyRange(OffsetIndexEntry)
TimeIndex = GreedyRange(TimeIndexEntry)
TransactionIndex = GreedyRange(TransactionIndexEntry)

SnapshotEntry = Struct(
    "producer_id" / Int64sb,
    "epoch" / Int16sb,
    "last_sequence" / Int32sb,
    "last_offset" / Int64sb,
    "offset_delta" / Int32sb,
    "timestamp" / Int64sb,
    "coordinator_epoch" / Int32sb,
    "current_txn_first_offset" / Int64sb,
)

ProducerSnapshot = Struct(
    "version" / Int16sb,
    "crc" / Int32ub,
    "count" / Int32sb,
    "producers" / Array(this.count, SnapshotEntry),
)
"""`.snapshot`, version 1; the CRC-32C is that of everything after it."""

Attributes = BitStruct(
    Padding(9),
    "has_delete_horizon" / Flag,
    "is_control" / Flag,
    "is_transactional" / Flag,
    "is_log_append_time" / Flag,
    "codec" / BitsInteger(3),
)

BatchHeader = Struct(
    "base_offset" / Int64sb,
    "length" / Int32sb,
    "partition_leader_epoch" / Int32sb,
    "magic" / Int8sb,
    "crc" / Int32ub,
    "attributes" / Attributes,
    "last_offset_delta" / Int32sb,
    "base_timestamp" / Int64sb,
    "max_timestamp" / Int64sb,
    "producer_id" / Int64sb,
    "producer_epoch" / Int16sb,
    "base_sequence" / Int32sb,
    "record_count" / Int32sb,
    "last_offset" / Computed(this.base_offset + this.last_offset_delta),
)
"""`.log`: the 61 bytes before a batch's records. `length` counts from `partition_leader_epoch` on; the CRC-32C covers
everything from `attributes` on. With a delete horizon, `base_timestamp` holds it (KIP-534)."""
