"""DescribeTransactions (key 65): state of transactions (KIP-664)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeTransactionsRequest(Request, key=ApiKey.DESCRIBE_TRANSACTIONS, versions="0", flexible="0+"):
    """Transactional ids coordinated by this broker."""

    transactional_ids: Array[String]


class DescribeTransactionsResponse(Response, key=ApiKey.DESCRIBE_TRANSACTIONS, versions="0", flexible="0+"):
    """State, producer and partitions of each."""

    throttle_time_ms: Int32 = 0
    transaction_states: Array[TransactionState]

    class TransactionState(Struct):
        error_code: Int16
        transactional_id: String
        transaction_state: String
        transaction_timeout_ms: Int32
        transaction_start_time_ms: Int64
        producer_id: Int64
        producer_epoch: Int16
        topics: Array[Topic]

        class Topic(Struct):
            topic: String
            partitions: Array[Int32]
