"""ListTransactions (key 66): transactions this broker coordinates (KIP-664)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ListTransactionsRequest(Request, key=ApiKey.LIST_TRANSACTIONS, versions="0-2", flexible="0+"):
    """Which transactions to list; empty filters mean all.

    Versions: 1 by duration (KIP-994); 2 by a pattern of the id (KIP-1152).
    """

    state_filters: Array[String]
    producer_id_filters: Array[Int64]
    duration_filter: Int64 = field(versions="1+", default=-1)
    transactional_id_pattern: String | None = field(versions="2+", default=None)


class ListTransactionsResponse(Response, key=ApiKey.LIST_TRANSACTIONS, versions="0-2", flexible="0+"):
    """Transactional ids with state and producer."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    unknown_state_filters: Array[String]
    transaction_states: Array[TransactionState]

    class TransactionState(Struct):
        transactional_id: String
        producer_id: Int64
        transaction_state: String
