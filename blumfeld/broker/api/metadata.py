"""Metadata 0–13: the brokers, and topics with who leads what.

KIP-4 automatic creation is a choice (4), KIP-430 authorized operations (8–10 for the cluster), KIP-516 topic ids (10,
12).

Answers come from this broker's copy of the metadata. Where a topic is made because it was asked for, the answer waits
a moment until it is there. Differs from Apache Kafka, which answers UNKNOWN_TOPIC_OR_PARTITION and lets the client
ask again; so do we when the moment is over. The controller named is this broker itself, if it is alive: it passes
admin requests on (Kafka names any broker).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from blumfeld.broker.addresses import Address, Addresses
from blumfeld.broker.partitions_view import CLUSTER_OPERATIONS, NO_OPERATIONS_ASKED, TOPIC_OPERATIONS, PartitionsView
from blumfeld.broker.published import wait_for_metadata
from blumfeld.cluster.controller.topic_names import invalid_topic_name, is_internal_topic
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.metadata import MetadataRequest, MetadataResponse
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Member, Reply
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.image.topics import PartitionRegistration, TopicImage

_Topic = MetadataResponse.Topic
_Partition = MetadataResponse.Topic.Partition

NEWS_TAKE_S: Final = 0.001
SUCCESSOR_WAIT_MS: Final = 500
FIRST_VERSION_WITH_NULL_FOR_ALL: Final = 1
FIRST_VERSION_WITH_LISTENER_ERRORS: Final = 6
FIRST_VERSION_WITH_TOPIC_IDS_ASKED: Final = 12


def metadata(broker: Broker, context: Context, request: MetadataRequest) -> Reply[MetadataResponse]:
    """Describe the cluster and the topics asked for, making those that may be made."""
    contradiction = _contradiction(context, request)
    if contradiction is not None:
        return contradiction
    names = _missing_names(broker, context, request)
    if names and request.allow_auto_topic_creation and broker.config.bool("auto.create.topics.enable"):
        return _after_creation(broker, context, request, names)
    if _has_remote_leaders(broker, request):
        return _with_news(broker, context, request)
    return _answer(broker, context, request)


async def _after_creation(
    broker: Broker, context: Context, request: MetadataRequest, names: list[str]
) -> MetadataResponse:
    from blumfeld.broker.auto_creation import create_missing_topics  # seldom needed

    await create_missing_topics(broker, context, names)
    return _answer(broker, context, request)


def _has_remote_leaders(broker: Broker, request: MetadataRequest) -> bool:
    return any(leader != broker.node_id for leader in _leaders(broker.image, request))


def _leaders(image: MetadataImage, request: MetadataRequest) -> Iterator[int]:
    """Who leads what is asked for by name or id."""
    for wanted in request.topics or ():
        topic = image.topics.get_by_id(wanted.topic_id) if wanted.name is None else image.topics.get(wanted.name)
        if topic is not None:
            for partition in topic.partitions.values():
                yield partition.leader


async def _with_news(broker: Broker, context: Context, request: MetadataRequest) -> MetadataResponse:
    """Where a leader seems to be dying, wait a moment for its successor.

    A client asks at once when its connection to a leader breaks. If the answer names that leader again, clients are
    content and come back after a second or more; so the answer waits where our own connection to it is broken too.
    """
    await asyncio.sleep(NEWS_TAKE_S)  # the news of a broken connection may be on its way to us
    unreachable = frozenset(broker.replicas.membership.unreachable)
    if not unreachable.isdisjoint(_leaders(broker.image, request)):
        await wait_for_metadata(
            broker, lambda image: unreachable.isdisjoint(_leaders(image, request)), SUCCESSOR_WAIT_MS
        )
    return _answer(broker, context, request)


def _asks_for_all(context: Context, request: MetadataRequest) -> bool:
    if context.api_version < FIRST_VERSION_WITH_NULL_FOR_ALL:
        return not request.topics
    return request.topics is None


def _contradiction(context: Context, request: MetadataRequest) -> MetadataResponse | None:
    """Versions 10 and 11 have a field for topic ids, but cannot ask by them."""
    if context.api_version >= FIRST_VERSION_WITH_TOPIC_IDS_ASKED or not request.topics:
        return None
    if all(topic.name is not None and topic.topic_id == ZERO_UUID for topic in request.topics):
        return None
    topics = [
        _error_topic(ErrorCode.INVALID_REQUEST, topic.name or "", topic_id=topic.topic_id) for topic in request.topics
    ]
    return MetadataResponse(brokers=[], topics=topics)


def _missing_names(broker: Broker, context: Context, request: MetadataRequest) -> list[str]:
    if _asks_for_all(context, request) or _ids_asked(request):
        return []
    known = broker.image.topics.by_name
    return [topic.name for topic in request.topics or () if topic.name is not None and topic.name not in known]


def _ids_asked(request: MetadataRequest) -> list[bytes]:
    """Where any topic is asked for by id, only ids count."""
    return list(dict.fromkeys(topic.topic_id for topic in request.topics or () if topic.topic_id != ZERO_UUID))


def _answer(broker: Broker, context: Context, request: MetadataRequest) -> MetadataResponse:
    image = broker.image
    addresses = Addresses(broker, context)
    alive = list(addresses.alive())
    departed = [address for i in broker.recently_fenced.ids() if (address := addresses.of_id(i)) is not None]
    describe = _Describer(image, context, request.include_topic_authorized_operations)
    if _asks_for_all(context, request):
        topics = [describe.topic(topic) for topic in image.topics.by_name.values()]
    elif ids := _ids_asked(request):
        topics = [describe.by_id(topic_id) for topic_id in ids]
    else:
        names = dict.fromkeys(topic.name for topic in request.topics or ())
        topics = [describe.by_name(name) for name in names if name is not None]
    cluster_asked = request.include_cluster_authorized_operations
    return MetadataResponse(
        brokers=[
            MetadataResponse.Broker(node_id=node.node_id, host=node.host, port=node.port, rack=node.rack)
            for node in sorted([*alive, *departed])
        ],
        cluster_id=broker.cluster_id,
        controller_id=controller_id(broker, alive),
        topics=topics,
        cluster_authorized_operations=CLUSTER_OPERATIONS if cluster_asked else NO_OPERATIONS_ASKED,
    )


def controller_id(member: Member, addresses: Iterable[Address]) -> int:
    """Whom clients may send what is for the controller: this broker, else any that is alive, else −1."""
    ids = [address.node_id for address in addresses]
    return member.node_id if member.node_id in ids else next(iter(ids), -1)


def _error_topic(code: ErrorCode, name: str | None, *, topic_id: bytes = ZERO_UUID) -> _Topic:
    internal = name is not None and is_internal_topic(name)
    return _Topic(error_code=code, name=name, topic_id=topic_id, is_internal=internal, partitions=[])


class _Describer:
    """Topics of one image for one request."""

    def __init__(self, image: MetadataImage, context: Context, operations_asked: bool) -> None:
        self._topics = image.topics
        self._view = PartitionsView(image, context.listener)
        self._only_alive = context.api_version == 0
        self._tells_listeners = context.api_version >= FIRST_VERSION_WITH_LISTENER_ERRORS
        self._operations = TOPIC_OPERATIONS if operations_asked else NO_OPERATIONS_ASKED

    def by_name(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is not None:
            return self.topic(topic)
        invalid = invalid_topic_name(name) is not None
        return self._with_operations(
            _error_topic(ErrorCode.INVALID_TOPIC_EXCEPTION if invalid else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name)
        )

    def by_id(self, topic_id: bytes) -> _Topic:
        topic = self._topics.get_by_id(topic_id)
        return _error_topic(ErrorCode.UNKNOWN_TOPIC_ID, None, topic_id=topic_id) if topic is None else self.topic(topic)

    def topic(self, topic: TopicImage) -> _Topic:
        return _Topic(
            error_code=ErrorCode.NONE,
            name=topic.name,
            topic_id=topic.id,
            is_internal=is_internal_topic(topic.name),
            partitions=[self._partition(index, partition) for index, partition in topic.partitions.items()],
            topic_authorized_operations=self._operations,
        )

    def _with_operations(self, topic: _Topic) -> _Topic:
        topic.topic_authorized_operations = self._operations
        return topic

    def _partition(self, index: int, partition: PartitionRegistration) -> _Partition:
        error, leader = self._view.leader(partition)
        if error == ErrorCode.LISTENER_NOT_FOUND and not self._tells_listeners:
            error = ErrorCode.LEADER_NOT_AVAILABLE
        replicas, isr = list(partition.replicas), list(partition.isr)
        if self._only_alive:
            replicas, isr = self._view.alive(partition.replicas), self._view.alive(partition.isr)
            if not error and (len(replicas) < len(partition.replicas) or len(isr) < len(partition.isr)):
                error = ErrorCode.REPLICA_NOT_AVAILABLE
        return _Partition(
            error_code=error,
            partition_index=index,
            leader_id=leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=replicas,
            isr_nodes=isr,
            offline_replicas=self._view.offline(partition),
        )
