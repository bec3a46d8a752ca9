"""AllocateProducerIds (key 67): a block of producer ids for a broker (KIP-730)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, Int64
from blumfeld.protocol.schema import Request, Response


class AllocateProducerIdsRequest(Request, key=ApiKey.ALLOCATE_PRODUCER_IDS, versions="0", flexible="0+"):
    """Who asks."""

    broker_id: Int32
    broker_epoch: Int64 = -1


class AllocateProducerIdsResponse(Response, key=ApiKey.ALLOCATE_PRODUCER_IDS, versions="0", flexible="0+"):
    """The block: a first id and a length."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    producer_id_start: Int64
    producer_id_len: Int32  # how many
