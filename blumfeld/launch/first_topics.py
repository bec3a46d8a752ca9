"""Topics that a node makes when it starts (`KAFKA_CREATE_TOPICS`), as container images of old did.

Owns the making of what is missing; topics that exist stay as they are. Every node of a cluster may be told the same
list: whoever comes first makes them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blumfeld.broker.published import wait_for_metadata
from blumfeld.config.topics import NewTopic, parse_create_topics
from blumfeld.launch.errors import StartError
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker

TIMEOUT_S = 30.0
RETRY_S = 0.1
WAITS = frozenset({ErrorCode.INVALID_REPLICATION_FACTOR, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_CONTROLLER})
"""Too few brokers have registered yet, or no controller is active: it is tried again."""


async def make_first_topics(broker: Broker) -> None:
    """Make the configured topics that are missing, and return when this broker knows them all.

    Raises StartError where the cluster refuses one for good.
    """
    wanted = parse_create_topics(broker.config)
    names, clock = {topic.name for topic in wanted}, broker.env.clock
    deadline = clock.monotonic() + TIMEOUT_S
    while wanted:
        request = CreateTopicsRequest(topics=[_topic(t) for t in wanted], timeout_ms=int(TIMEOUT_S * 1000))
        response = await broker.controller.send(request, timeout_ms=TIMEOUT_S * 1000)
        refused = {t.name: t for t in response.topics if t.error_code not in _THERE}
        wanted = [topic for topic in wanted if topic.name in refused]
        for name, topic in refused.items():
            code = ErrorCode(topic.error_code)
            if code not in WAITS or clock.monotonic() > deadline:
                raise StartError(f"KAFKA_CREATE_TOPICS: {name}: {code.name}: {topic.error_message or code.text}")
        if wanted:
            await asyncio.sleep(RETRY_S)
    await wait_for_metadata(
        broker, lambda image: names <= image.topics.by_name.keys(), (deadline - clock.monotonic()) * 1000
    )


_THERE = (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS)


def _topic(topic: NewTopic) -> CreateTopicsRequest.Topic:
    configs = [CreateTopicsRequest.Topic.Config(name=name, value=value) for name, value in topic.configs.items()]
    return CreateTopicsRequest.Topic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=topic.replicas,
        assignments=[],
        configs=configs,
    )
