"""AddOffsetsToTxn (key 25): a group's offsets become part of a transaction (KIP-98)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response


class AddOffsetsToTxnRequest(Request, key=ApiKey.ADD_OFFSETS_TO_TXN, versions="0-4", flexible="3+"):
    """Adds the group's partition of the offsets topic to the transaction.

    Versions: 2 PRODUCER_FENCED (KIP-588); 4 TRANSACTION_ABORTABLE (KIP-890).
    """

    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


class AddOffsetsToTxnResponse(Response, key=ApiKey.ADD_OFFSETS_TO_TXN, versions="0-4", flexible="3+"):
    """Whether the group may commit within the transaction."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
