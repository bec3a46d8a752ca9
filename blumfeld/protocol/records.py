"""Records opened and built: for coordinators, the metadata log, compaction, tools and tests.

Owns the format of the records inside a batch (KIP-98) and of control records' keys. The produce and fetch
paths must not import this module: there, records stay bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.compression import Codec

DEFAULT_MAX_BYTES = 128 * 1024 * 1024
"""How much one batch may unpack to, where the caller does not say."""


class Header(NamedTuple):
    """A record's header: a name and any bytes."""

    key: str
    value: bytes | None


class Record(NamedTuple):
    """One record. Offsets and timestamps are absolute; `build_batch` counts offsets from its base."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class ControlType(IntEnum):
    """The types of control records, as their keys number them."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


def read_records(batch: RecordBatch, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[Record]:
    """The batch's records in order, decompressed if need be; CorruptBatch where they are damaged."""
    raise AssertionError("not yet")


def build_batch(
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    codec: int = Codec.NONE,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    leader_epoch: int = -1,
    transactional: bool = False,
    control: bool = False,
    timestamp_type: int = 0,
    append_time: int | None = None,
    delete_horizon: int | None = None,
    last_offset: int | None = None,
) -> bytes:
    """One batch of `records`, whose offsets lie at or above `base_offset` in ascending order.

    append_time: the time, in ms, of a batch of timestamp type 1.
    delete_horizon: KIP-534's flag and time.
    last_offset: where it is beyond the last record's, as compaction leaves it (or there are no records).
    """
    raise AssertionError("not yet")


def control_batch(
    controls: Sequence[tuple[ControlType, bytes]],
    *,
    base_offset: int,
    timestamp: int,
    leader_epoch: int,
    producer_id: int = -1,
    producer_epoch: int = -1,
    transactional: bool = False,
) -> bytes:
    """One batch of control records: (type, value as encoded by `messages/control_records.py`) each."""
    raise AssertionError("not yet")


def end_transaction_batch(
    commit: bool,
    *,
    base_offset: int,
    timestamp: int,
    leader_epoch: int,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
) -> bytes:
    """The marker that ends a producer's transaction on a partition (KIP-98)."""
    raise AssertionError("not yet")


def control_type(batch: RecordBatch) -> ControlType | None:
    """The type of the batch's first control record; None where it is not known to us."""
    raise AssertionError("not yet")


def read_control_records(batch: RecordBatch) -> list[tuple[Record, ControlType | None]]:
    """The control records of a batch with their types."""
    raise AssertionError("not yet")
