"""AddPartitionsToTxn (key 24): partitions become part of a transaction (KIP-98)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class AddPartitionsToTxnTopic(Struct):
    name: String
    partitions: Array[Int32]


class AddPartitionsToTxnRequest(Request, key=ApiKey.ADD_PARTITIONS_TO_TXN, versions="0-5", flexible="3+"):
    """Up to version 3 one transaction, from a client.

    From version 4 on a batch from a broker, to add or only to verify.

    Versions: 2 PRODUCER_FENCED (KIP-588); 4 batches and verification; 5 TRANSACTION_ABORTABLE (KIP-890).
    """

    transactions: Array[Transaction] = field(versions="4+", default=[])
    v3_and_below_transactional_id: String = field(versions="0-3", default="")
    v3_and_below_producer_id: Int64 = field(versions="0-3", default=0)
    v3_and_below_producer_epoch: Int16 = field(versions="0-3", default=0)
    v3_and_below_topics: Array[AddPartitionsToTxnTopic] = field(versions="0-3", default=[])

    class Transaction(Struct):
        transactional_id: String
        producer_id: Int64
        producer_epoch: Int16
        verify_only: Bool = False
        topics: Array[AddPartitionsToTxnTopic]


class AddPartitionsToTxnTopicResult(Struct):
    name: String
    results_by_partition: Array[Partition]

    class Partition(Struct):
        partition_index: Int32
        partition_error_code: Int16


class AddPartitionsToTxnResponse(Response, key=ApiKey.ADD_PARTITIONS_TO_TXN, versions="0-5", flexible="3+"):
    """Results per partition: of one transaction up to version 3, of several from version 4 on.

    Versions: 4 batches and a top-level error; 5 TRANSACTION_ABORTABLE (KIP-890).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field(versions="4+", default=0, ignorable=True)
    results_by_transaction: Array[Transaction] = field(versions="4+", default=[])
    results_by_topic_v3_and_below: Array[AddPartitionsToTxnTopicResult] = field(versions="0-3", default=[])

    class Transaction(Struct):
        transactional_id: String
        topic_results: Array[AddPartitionsToTxnTopicResult]
