"""TxnOffsetCommit (key 28): commit offsets within a transaction (KIP-98)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class TxnOffsetCommitRequest(Request, key=ApiKey.TXN_OFFSET_COMMIT, versions="0-6", flexible="3+"):
    """Positions that become visible when the transaction commits.

    Versions: 2 leader epochs (KIP-320); 3 membership, so that a group fences its zombies (KIP-447); 4
    TRANSACTION_ABORTABLE and 5 the group joins the transaction implicitly (KIP-890); 6 topic ids and member
    epochs (KIP-1319).
    """

    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation_id_or_member_epoch: Int32 = field(versions="3+", default=-1)
    member_id: String = field(versions="3+", default="")
    group_instance_id: String | None = field(versions="3+", default=None)
    topics: Array[Topic]

    class Topic(Struct):
        name: String = field(versions="0-5", default="", ignorable=True)
        topic_id: Uuid = field(versions="6+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            committed_offset: Int64
            committed_leader_epoch: Int32 = field(versions="2+", default=-1, ignorable=True)
            committed_metadata: String | None


class TxnOffsetCommitResponse(Response, key=ApiKey.TXN_OFFSET_COMMIT, versions="0-6", flexible="3+"):
    """An error code for each partition.

    Versions: 3 membership errors (KIP-447); 4 TRANSACTION_ABORTABLE (KIP-890); 6 topic ids (KIP-1319).
    """

    throttle_time_ms: Int32 = 0
    topics: Array[Topic]

    class Topic(Struct):
        name: String = field(versions="0-5", default="", ignorable=True)
        topic_id: Uuid = field(versions="6+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
