"""InitProducerId (key 22), versions 0–5: a producer id for an idempotent producer (KIP-98, KIP-360).

Ids come from blocks that the controller allocates (KIP-730), so they are unique in the cluster for ever. An idempotent
producer always gets a fresh id with epoch 0, whatever it had before.

Difference to Apache Kafka: there are no transactions yet. A transactional id is answered UNSUPPORTED_VERSION, which
Java clients, kafka-python and aiokafka take for final; a retriable code would have them hang in `init_transactions()`.
librdkafka logs it and asks again until its time is up, then raises it: only refusals that name another reason
(authorization, the timeout) are final there. FindCoordinator sends them here.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context


def init_producer_id(
    broker: Broker, context: Context, request: InitProducerIdRequest
) -> InitProducerIdResponse | Awaitable[InitProducerIdResponse]:
    """Give the next id out, waiting for the controller where the block is used up."""
    if request.transactional_id is not None:
        empty = request.transactional_id == ""
        return _refused(ErrorCode.INVALID_REQUEST if empty else ErrorCode.UNSUPPORTED_VERSION)
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        return _refused(ErrorCode.INVALID_REQUEST)
    return _allocate(broker)


async def _allocate(broker: Broker) -> InitProducerIdResponse:
    try:
        producer_id = await broker.controller.next_producer_id()
    except ControllerUnavailable:
        return _refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)  # as Apache Kafka: clients try again
    if isinstance(producer_id, ErrorCode):
        return _refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    return InitProducerIdResponse(error_code=ErrorCode.NONE, producer_id=producer_id, producer_epoch=0)


def _refused(error: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=error, producer_epoch=-1)
