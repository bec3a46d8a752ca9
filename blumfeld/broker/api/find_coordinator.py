"""FindCoordinator 0–6: which broker coordinates a group (KIP-699 several keys, KIP-932 share groups).

Where `__consumer_offsets` does not exist yet it is created, and the answer waits for that a little. Differs from
Apache Kafka, which answers COORDINATOR_NOT_AVAILABLE at once and lets the client try again; so do we when the time
is up. There are no transactions yet: where no broker of another kind has made `__transaction_state`, a transactional id
is sent to this broker, whose InitProducerId refuses it. Most clients take that for final and all say so, while nearly
any error here has some of them ask for ever. Share groups are not served: INVALID_REQUEST, as from a Kafka broker
without them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from blumfeld.broker.addresses import Address
from blumfeld.broker.hints import node_endpoints
from blumfeld.coordinator.groups import OFFSETS_TOPIC
from blumfeld.coordinator.partitioning import partition_for
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply

CREATION_WAIT_MS = 3_000
FIRST_VERSION_WITH_SEVERAL_KEYS = 4

TRANSACTIONS_TOPIC = "__transaction_state"

_NO_NODE = Address(-1, "", -1, None)


class CoordinatorType(IntEnum):
    """What a key names."""

    GROUP = 0
    TRANSACTION = 1
    SHARE = 2


def find_coordinator(
    broker: Broker, context: Context, request: FindCoordinatorRequest
) -> Reply[FindCoordinatorResponse]:
    """Answer from metadata, once the internal topic exists."""
    if request.key_type == CoordinatorType.GROUP and not broker.groups.topic.exists:
        return _after_creation(broker, context, request)
    return _answer(broker, context, request)


async def _after_creation(broker: Broker, context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    await broker.groups.topic.ensure(CREATION_WAIT_MS)
    return _answer(broker, context, request)


def _answer(broker: Broker, context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    if context.api_version < FIRST_VERSION_WITH_SEVERAL_KEYS:
        error, node = _find(broker, context, request.key_type, request.key)
        return FindCoordinatorResponse(
            error_code=error,
            error_message=error.text or error.name,
            node_id=node.node_id,
            host=node.host,
            port=node.port,
        )
    return FindCoordinatorResponse(
        coordinators=[_one(broker, context, request.key_type, key) for key in request.coordinator_keys]
    )


def _one(broker: Broker, context: Context, key_type: int, key: str) -> FindCoordinatorResponse.Coordinator:
    error, node = _find(broker, context, key_type, key)
    return FindCoordinatorResponse.Coordinator(
        key=key,
        node_id=node.node_id,
        host=node.host,
        port=node.port,
        error_code=error,
        error_message=error.text,
    )


def _find(broker: Broker, context: Context, key_type: int, key: str) -> tuple[ErrorCode, Address]:
    if key_type not in (CoordinatorType.GROUP, CoordinatorType.TRANSACTION):
        return ErrorCode.INVALID_REQUEST, _NO_NODE
    coordinator = _group_coordinator if key_type == CoordinatorType.GROUP else _transaction_coordinator
    node_id = coordinator(broker, key)
    if not broker.image.cluster.is_alive(node_id):
        return ErrorCode.COORDINATOR_NOT_AVAILABLE, _NO_NODE
    node = next(node_endpoints(broker, context, (node_id,)), None)
    if node is None:
        return ErrorCode.COORDINATOR_NOT_AVAILABLE, _NO_NODE
    return ErrorCode.NONE, node


def _group_coordinator(broker: Broker, group_id: str) -> int:
    partition = broker.image.topics.partition_by_name(OFFSETS_TOPIC, broker.groups.partition_for(group_id))
    return _NO_NODE.node_id if partition is None else partition.leader


def _transaction_coordinator(broker: Broker, transactional_id: str) -> int:
    """This broker, unless Apache Kafka brokers of the same cluster have made a topic for transactions."""
    topic = broker.image.topics.get(TRANSACTIONS_TOPIC)
    if topic is None:
        return broker.node_id
    return topic.partitions[partition_for(transactional_id, len(topic.partitions))].leader
