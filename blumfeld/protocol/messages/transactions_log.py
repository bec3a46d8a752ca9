"""Records of `__transaction_state`: one per transactional id, rewritten at each of its steps (KIP-98).

Owns their declarations and what key types there are. `coordinator_log.py` frames them.
"""

from __future__ import annotations

from blumfeld.protocol.messages.coordinator_log import RecordTypes
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Record, Struct, field


class TransactionLogKey(Record, key=0, versions="0"):
    """Key of a transactional id's state."""

    transactional_id: String


class TransactionLogValue(Record, key=0, versions="0-1", flexible="1+"):
    """State of a transactional id.

    Versions: 1 the ids and epochs around an epoch bump, as tagged fields (KIP-890).
    """

    producer_id: Int64
    previous_producer_id: Int64 = field(versions="1+", tag=0, default=-1)
    next_producer_id: Int64 = field(versions="1+", tag=1, default=-1)
    producer_epoch: Int16
    next_producer_epoch: Int16 = field(versions="1+", tag=3, default=-1)
    transaction_timeout_ms: Int32
    transaction_status: Int8  # 0 Empty, 1 Ongoing, 2/3 PrepareCommit/Abort, 4/5 CompleteCommit/Abort, 6 Dead, 7 fence
    transaction_partitions: Array[TransactionPartition] | None
    transaction_last_update_timestamp_ms: Int64
    transaction_start_timestamp_ms: Int64
    client_transaction_version: Int16 = field(versions="1+", tag=2, default=0)

    class TransactionPartition(Struct):
        topic: String
        partition_ids: Array[Int32]


RECORD_TYPES = RecordTypes({0: (TransactionLogKey, TransactionLogValue)})
"""How keys and values are told apart: `RECORD_TYPES.decode_key(…)`, `.decode_value(…)`."""
