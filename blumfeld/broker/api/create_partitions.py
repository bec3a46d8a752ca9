"""CreatePartitions 0–3: topics grow (KIP-195).

The controller decides. Differs from Apache Kafka in when it answers: once the new partitions' leaders are known here,
unless the client's timeout is over before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.broker.auto_creation import have_leaders
from blumfeld.broker.forwarding import allowed_ms, forward
from blumfeld.broker.published import wait_for_metadata
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.image.image import MetadataImage

LONGEST_WAIT_MS: Final = 5_000


async def create_partitions(
    broker: Broker, context: Context, request: CreatePartitionsRequest
) -> CreatePartitionsResponse:
    """Pass the request on, and wait for what was made to arrive."""
    response: CreatePartitionsResponse = await forward(broker, context, request, request.timeout_ms)
    grown = {result.name for result in response.results if result.error_code == ErrorCode.NONE}
    counts = {topic.name: topic.count for topic in request.topics if topic.name in grown}

    def have_arrived(image: MetadataImage) -> bool:
        return have_leaders(image, list(counts)) and all(
            len(image.topics.by_name[name].partitions) >= count for name, count in counts.items()
        )

    if counts and not request.validate_only:
        await wait_for_metadata(broker, have_arrived, min(allowed_ms(broker, request.timeout_ms), LONGEST_WAIT_MS))
    return response
