"""DeleteTopics 1–6: by name, from 6 on by id too (KIP-516).

The controller decides. Differs from Apache Kafka in when it answers: once this broker has forgotten the topics,
unless the client's timeout is over before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.broker.forwarding import allowed_ms, forward
from blumfeld.broker.published import wait_for_metadata
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context

LONGEST_WAIT_MS: Final = 5_000


async def delete_topics(broker: Broker, context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    """Pass the request on, and wait until the topics are gone here."""
    present = {topic.name: topic.id for topic in broker.image.topics.by_name.values()}
    response: DeleteTopicsResponse = await forward(broker, context, request, request.timeout_ms)
    gone = {
        present[topic.name]
        for topic in response.responses
        if topic.error_code == ErrorCode.NONE and topic.name in present
    }
    wait_ms = min(allowed_ms(broker, request.timeout_ms), LONGEST_WAIT_MS)
    await wait_for_metadata(broker, lambda image: gone.isdisjoint(image.topics.by_id), wait_ms)
    return response
