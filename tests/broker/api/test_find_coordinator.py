"""FindCoordinator: who coordinates a group, and the creation of the topic."""

from __future__ import annotations

import pytest

from blumfeld.broker.api.find_coordinator import TRANSACTIONS_TOPIC
from blumfeld.coordinator.partitioning import partition_for
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.init_producer_id import InitProducerIdRequest
from tests.coordinator.brokers import Brokers


@pytest.mark.parametrize("version", range(4))
async def test_one_key(version: int) -> None:
    async with Brokers(2, replicas=(2,)) as brokers:
        response = await brokers.call(1, FindCoordinatorRequest(key="g"), version)
        assert (response.error_code, response.node_id) == (ErrorCode.NONE, 2)
        assert (response.host, response.port) == ("host2", 9002)
        if version >= 1:
            assert response.error_message == "NONE"


@pytest.mark.parametrize("version", range(4, 7))
async def test_several_keys(version: int) -> None:
    async with Brokers() as brokers:
        response = await brokers.call(1, FindCoordinatorRequest(coordinator_keys=["a", "b"]), version)
        assert [(c.key, c.node_id, c.error_code) for c in response.coordinators] == [("a", 1, 0), ("b", 1, 0)]


async def test_every_broker_names_the_same_one() -> None:
    async with Brokers(3, replicas=(2, 3)) as brokers:
        request = FindCoordinatorRequest(coordinator_keys=["a", "b", "c"])
        answers = [await brokers.call(node_id, request, 6) for node_id in (1, 2, 3)]
        named = [[(c.key, c.node_id, c.error_code) for c in answer.coordinators] for answer in answers]
        assert named[0] == named[1] == named[2]


async def test_a_coordinator_names_itself_by_the_address_that_was_dialled() -> None:
    async with Brokers(2, replicas=(2,)) as brokers:
        response = await brokers.call(2, FindCoordinatorRequest(key="g"), 3)
        assert (response.node_id, response.host, response.port) == (2, "127.0.0.1", 9092)


async def test_the_topic_is_made_on_demand_and_the_answer_waits_for_it() -> None:
    async with Brokers(with_topic=False) as brokers:
        response = await brokers.call(1, FindCoordinatorRequest(key="g"), 3)
        assert (response.error_code, response.node_id) == (ErrorCode.NONE, 1)
        assert len(brokers.controller.asked) == 1


@pytest.mark.parametrize("version", [3, 6])
async def test_while_the_topic_cannot_be_made_there_is_no_coordinator(version: int) -> None:
    async with Brokers(with_topic=False) as brokers:
        brokers.controller.refusal = ErrorCode.INVALID_REPLICATION_FACTOR
        request = FindCoordinatorRequest(key="g") if version < 4 else FindCoordinatorRequest(coordinator_keys=["g"])
        response = await brokers.call(1, request, version)
        found = response if version < 4 else response.coordinators[0]
        assert found.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert (found.node_id, found.host, found.port) == (-1, "", -1)


async def test_a_partition_without_a_living_leader_has_no_coordinator() -> None:
    async with Brokers(2, replicas=(2,)) as brokers:
        brokers.world.fence(2)
        response = await brokers.call(1, FindCoordinatorRequest(key="g"), 3)
        assert response.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("key_type", "error"),
    [
        (2, ErrorCode.INVALID_REQUEST),
        (9, ErrorCode.INVALID_REQUEST),
        (-1, ErrorCode.INVALID_REQUEST),
    ],
)
async def test_other_coordinators_are_not_served(key_type: int, error: ErrorCode) -> None:
    async with Brokers(with_topic=False) as brokers:
        one = await brokers.call(1, FindCoordinatorRequest(key="x", key_type=key_type), 3)
        several = await brokers.call(1, FindCoordinatorRequest(coordinator_keys=["x"], key_type=key_type), 6)
        assert one.error_code == several.coordinators[0].error_code == error
        assert brokers.controller.asked == []


@pytest.mark.parametrize("version", [1, 3, 4, 6])
async def test_a_transactional_id_is_sent_to_the_broker_itself_which_refuses_it_for_good(version: int) -> None:
    async with Brokers(2, with_topic=False) as brokers:
        request = (
            FindCoordinatorRequest(key="x", key_type=1)
            if version < 4
            else FindCoordinatorRequest(coordinator_keys=["x"], key_type=1)
        )
        response = await brokers.call(2, request, version)
        found = response if version < 4 else response.coordinators[0]
        assert (found.error_code, found.node_id, found.host, found.port) == (ErrorCode.NONE, 2, "127.0.0.1", 9092)
        assert brokers.controller.asked == []
        refused = await brokers.call(2, InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=1000), 5)
        assert refused.error_code == ErrorCode.UNSUPPORTED_VERSION


async def test_where_other_brokers_have_made_a_topic_for_transactions_its_leaders_coordinate() -> None:
    async with Brokers(3) as brokers:
        brokers.world.create_topic((2,), partitions=4, name=TRANSACTIONS_TOPIC)
        brokers.world.change(partition_for("x", 4), TRANSACTIONS_TOPIC, replicas=[3], leader=3, isr=[3])
        request = FindCoordinatorRequest(coordinator_keys=["x", "y"], key_type=1)
        found = (await brokers.call(1, request, 6)).coordinators
        assert [(c.key, c.error_code, c.node_id) for c in found] == [("x", 0, 3), ("y", 0, 2)]
        brokers.world.fence(3)
        found = (await brokers.call(1, request, 6)).coordinators
        assert [(c.key, c.error_code) for c in found] == [("x", ErrorCode.COORDINATOR_NOT_AVAILABLE), ("y", 0)]
