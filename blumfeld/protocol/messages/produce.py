"""Produce (key 0): append record batches."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, Records, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class ProduceRequest(Request, key=ApiKey.PRODUCE, versions="3-13", flexible="9+"):
    """Record batches for partitions this broker leads. With acks 0 there is no response at all.

    Versions: 3 transactions and message format v2 (KIP-98); 7 zstd (KIP-110); 8 per-record errors (KIP-467);
    10 leader hints (KIP-951); 11 TRANSACTION_ABORTABLE and 12 partitions join the transaction implicitly
    (KIP-890); 13 topic ids (KIP-516).
    """

    transactional_id: String | None = None
    acks: Int16  # -1: the whole ISR, 1: the leader, 0: nobody, and no response
    timeout_ms: Int32
    topic_data: Array[Topic]

    class Topic(Struct):
        name: String = field(versions="3-12", default="", ignorable=True)
        topic_id: Uuid = field(versions="13+", default=ZERO_UUID, ignorable=True)
        partition_data: Array[Partition]

        class Partition(Struct):
            index: Int32
            records: Records | None


class ProduceResponse(Response, key=ApiKey.PRODUCE, versions="3-13", flexible="9+"):
    """Where each batch landed, or why it did not.

    Versions: 4 KAFKA_STORAGE_ERROR; 5 log start offset; 8 which records were at fault (KIP-467); 10 the
    current leader and its address as tagged fields (KIP-951); 11 TRANSACTION_ABORTABLE (KIP-890); 13 topic
    ids (KIP-516).
    """

    responses: Array[Topic]
    throttle_time_ms: Int32 = 0
    node_endpoints: Array[NodeEndpoint] = field(versions="10+", tag=0, default=[])

    class Topic(Struct):
        name: String = field(versions="3-12", default="", ignorable=True)
        topic_id: Uuid = field(versions="13+", default=ZERO_UUID, ignorable=True)
        partition_responses: Array[Partition]

        class Partition(Struct):
            class LeaderIdAndEpoch(Struct):
                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            index: Int32
            error_code: Int16
            base_offset: Int64
            log_append_time_ms: Int64 = -1  # -1 where records keep the time of their creation
            log_start_offset: Int64 = field(versions="5+", default=-1, ignorable=True)
            record_errors: Array[RecordError] = field(versions="8+", default=[], ignorable=True)
            error_message: String | None = field(versions="8+", default=None, ignorable=True)
            current_leader: LeaderIdAndEpoch = field(versions="10+", tag=0, default_factory=LeaderIdAndEpoch)

            class RecordError(Struct):
                batch_index: Int32
                batch_index_error_message: String | None = None

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None
