"""Topics that are made because a client asked about them (Metadata).

Owns what such a topic looks like and how long an answer waits for it. Internal topics are their coordinators' to make.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from blumfeld.broker.published import wait_for_metadata
from blumfeld.cluster.controller.topic_names import invalid_topic_name
from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blumfeld.broker.context import Broker, Context
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.protocol.messages.create_topics import CreateTopicsResponse

_log = logging.getLogger(__name__)

CREATION_WAIT_MS: Final = 2_000
OFFSETS_TOPIC: Final = "__consumer_offsets"
_CREATE_TOPICS_VERSION: Final = 7


async def create_missing_topics(broker: Broker, context: Context, names: Sequence[str]) -> None:
    """Have those topics made that may be, and wait until their leaders are known here; give up after a moment."""
    if OFFSETS_TOPIC in names:
        await broker.groups.topic.ensure(CREATION_WAIT_MS)
    ordinary = [n for n in dict.fromkeys(names) if n != OFFSETS_TOPIC and invalid_topic_name(n) is None]
    if not ordinary:
        return
    try:
        response: CreateTopicsResponse = await broker.controller.send(
            CreateTopicsRequest(topics=[_topic(broker, name) for name in ordinary]), timeout_ms=CREATION_WAIT_MS
        )
    except ControllerUnavailable as error:
        _log.warning("%s not created for %s: %s", ", ".join(ordinary), context.client_id or "a client", error)
        return
    expected = []
    for result in response.topics:
        if result.error_code in {ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS}:
            expected.append(result.name)
        else:
            _log.warning("topic %s not created when asked for: %s", result.name, result.error_message)
    await wait_for_metadata(broker, lambda image: have_leaders(image, expected), CREATION_WAIT_MS)


def have_leaders(image: MetadataImage, names: Sequence[str]) -> bool:
    """Whether all these topics are there, with a leader for each partition."""
    for name in names:
        topic = image.topics.get(name)
        if topic is None or not all(partition.has_leader for partition in topic.partitions.values()):
            return False
    return True


def _topic(broker: Broker, name: str) -> CreateTopicsRequest.Topic:
    """With this broker's defaults where it was given any, else with the controller's."""
    config = broker.config
    given = config.is_given("num.partitions"), config.is_given("default.replication.factor")
    return CreateTopicsRequest.Topic(
        name=name,
        num_partitions=config.int("num.partitions") if given[0] else -1,
        replication_factor=config.int("default.replication.factor") if given[1] else -1,
        assignments=[],
        configs=[],
    )
