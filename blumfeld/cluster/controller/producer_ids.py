"""Producer ids in blocks: AllocateProducerIds (67).

Owns the block size. Invariant: a producer id is given to one broker, once: the next block's start is in the metadata
log.
"""

from __future__ import annotations

from typing import Final

from blumfeld.cluster.controller.brokers import check_broker_epoch
from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.allocate_producer_ids import (
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
)
from blumfeld.protocol.messages.metadata_log import ProducerIdsRecord

BLOCK_SIZE: Final = 1000
_LAST_PRODUCER_ID: Final = 2**63 - 1


def allocate_producer_ids(turn: Turn, request: AllocateProducerIdsRequest) -> Decision[AllocateProducerIdsResponse]:
    """Give the asking broker the next thousand ids."""
    error = check_broker_epoch(turn, request.broker_id, request.broker_epoch)
    first = turn.image.next_producer_id
    if not error and first > _LAST_PRODUCER_ID - BLOCK_SIZE:
        error = ErrorCode.UNKNOWN_SERVER_ERROR
    if error:
        return Decision([], AllocateProducerIdsResponse(error_code=error, producer_id_start=0, producer_id_len=0))
    record = ProducerIdsRecord(
        broker_id=request.broker_id, broker_epoch=request.broker_epoch, next_producer_id=first + BLOCK_SIZE
    )
    response = AllocateProducerIdsResponse(
        error_code=ErrorCode.NONE, producer_id_start=first, producer_id_len=BLOCK_SIZE
    )
    return Decision([record], response)
