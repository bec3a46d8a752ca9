"""CreateTopics 2–7: topics by count or by assignment (KIP-464 defaults, KIP-525 configs in the answer, KIP-516 ids).

The controller decides. Differs from Apache Kafka in when it answers: once the new topics' leaders are known and
served here, so that a client may use what it has just made, unless its timeout is over before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.broker.auto_creation import have_leaders
from blumfeld.broker.forwarding import allowed_ms, forward
from blumfeld.broker.published import wait_for_metadata
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context

LONGEST_WAIT_MS: Final = 5_000


async def create_topics(broker: Broker, context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse:
    """Pass the request on, and wait for what was made to arrive."""
    response: CreateTopicsResponse = await forward(broker, context, request, request.timeout_ms)
    made = [topic.name for topic in response.topics if topic.error_code == ErrorCode.NONE]
    if made and not request.validate_only:
        wait_ms = min(allowed_ms(broker, request.timeout_ms), LONGEST_WAIT_MS)
        await wait_for_metadata(broker, lambda image: have_leaders(image, made), wait_ms)
    return response
