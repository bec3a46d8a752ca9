"""EndTxn (key 26): commit or abort a transaction (KIP-98)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Bool, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, field


class EndTxnRequest(Request, key=ApiKey.END_TXN, versions="0-5", flexible="3+"):
    """The outcome the producer wants.

    Versions: 2 PRODUCER_FENCED (KIP-588); 4 TRANSACTION_ABORTABLE (KIP-890); 5 the epoch rises with every
    transaction (KIP-890).
    """

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    committed: Bool  # else aborted


class EndTxnResponse(Response, key=ApiKey.END_TXN, versions="0-5", flexible="3+"):
    """Whether the outcome is decided; markers follow by themselves.

    Versions: 5 the producer id and epoch of the next transaction (KIP-890).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    producer_id: Int64 = field(versions="5+", default=-1, ignorable=True)
    producer_epoch: Int16 = field(versions="5+", default=-1, ignorable=True)
