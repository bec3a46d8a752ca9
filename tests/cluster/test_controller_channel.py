"""The way to the active controller: found, followed when it moves, wrapped for clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller_channel import ControllerChannel, ControllerUnavailable, NoController
from blumfeld.cluster.envelope import serialize_principal
from blumfeld.cluster.producer_ids import ProducerIds
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.frame import decode_request_header, encode_response
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.allocate_producer_ids import AllocateProducerIdsResponse
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from blumfeld.protocol.messages.envelope import EnvelopeRequest, EnvelopeResponse
from blumfeld.protocol.messages.header import RequestHeader
from tests.cluster.peers import CUT, Peer, listening

ENV = Env.in_memory()
HEARTBEAT = BrokerHeartbeatRequest(broker_id=1, current_metadata_offset=0, want_fence=False, want_shut_down=False)
VERSIONS = {
    ApiKey.BROKER_HEARTBEAT: (0, 1),
    ApiKey.ENVELOPE: (0, 0),
    ApiKey.ALLOCATE_PRODUCER_IDS: (0, 0),
}


class Quorum:
    """What this node knows of the quorum."""

    def __init__(self, leader: int | None, **endpoints: int) -> None:
        self.leader_id = leader
        self.majority_is_gone = False
        self.endpoints = {int(name[1:]): port for name, port in endpoints.items()}

    def controller_endpoint(self, node_id: int) -> tuple[str, int] | None:
        port = self.endpoints.get(node_id)
        return None if port is None else ("127.0.0.1", port)


class Local:
    """A controller in this process."""

    def __init__(self, *, is_active: bool) -> None:
        self.is_active = is_active
        self.seen: list[tuple[Any, ControllerContext]] = []

    async def handle(self, request: Any, context: ControllerContext) -> Any:
        self.seen.append((request, context))
        return heartbeat_answer()


def heartbeat_answer(error: ErrorCode = ErrorCode.NONE) -> BrokerHeartbeatResponse:
    return BrokerHeartbeatResponse(error_code=error, should_shut_down=False)


def controller(answer: Any = None) -> Peer:
    return Peer(VERSIONS, {ApiKey.BROKER_HEARTBEAT: answer or (lambda request: heartbeat_answer())})


async def test_a_local_active_controller_is_asked_without_a_wire() -> None:
    local = Local(is_active=True)
    channel = ControllerChannel(ENV, 1, Quorum(1), local)
    response = await channel.send(HEARTBEAT, timeout_ms=100)
    assert isinstance(response, BrokerHeartbeatResponse)
    assert local.seen[0][0] is HEARTBEAT


async def test_a_remote_one_is_asked_over_a_link() -> None:
    async with listening(controller()) as node:
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port), Local(is_active=False))
        assert (await channel.send(HEARTBEAT, timeout_ms=1000)).error_code == 0
        assert node.seen[-1] == (ApiKey.BROKER_HEARTBEAT, 1)
        channel.close()


async def test_without_a_leader_the_request_waits_until_its_time_is_up() -> None:
    channel = ControllerChannel(ENV, 1, Quorum(None))
    with pytest.raises(ControllerUnavailable, match="no active controller"):
        await channel.send(HEARTBEAT, timeout_ms=60)


async def test_a_leader_that_appears_in_time_is_asked() -> None:
    async with listening(controller()) as node:
        quorum = Quorum(None, n2=node.port)
        channel = ControllerChannel(ENV, 1, quorum)
        sending = asyncio.ensure_future(channel.send(HEARTBEAT, timeout_ms=5000))
        await asyncio.sleep(0.03)
        quorum.leader_id = 2
        assert (await sending).error_code == 0
        channel.close()


async def test_not_controller_is_tried_again_and_never_passed_on() -> None:
    answers = [ErrorCode.NOT_CONTROLLER, ErrorCode.NOT_CONTROLLER, ErrorCode.NONE]
    async with listening(controller(lambda request: heartbeat_answer(answers.pop(0)))) as node:
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        assert (await channel.send(HEARTBEAT, timeout_ms=5000)).error_code == 0
        assert answers == []
        channel.close()


async def test_other_refusals_are_final() -> None:
    async with listening(controller(lambda request: heartbeat_answer(ErrorCode.STALE_BROKER_EPOCH))) as node:
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        assert (await channel.send(HEARTBEAT, timeout_ms=5000)).error_code == ErrorCode.STALE_BROKER_EPOCH
        channel.close()


async def test_a_broken_connection_is_tried_again() -> None:
    answers: list[Any] = [CUT, heartbeat_answer()]
    async with listening(controller(lambda request: answers.pop(0))) as node:
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        assert (await channel.send(HEARTBEAT, timeout_ms=5000)).error_code == 0
        channel.close()


async def test_a_controller_that_was_replaced_is_not_waited_for() -> None:
    async with listening(controller(lambda request: None)) as silent, listening(controller()) as new:
        quorum = Quorum(2, n2=silent.port, n3=new.port)
        channel = ControllerChannel(ENV, 1, quorum)
        sending = asyncio.ensure_future(channel.send(HEARTBEAT, timeout_ms=30_000))
        while not silent.requests:
            await asyncio.sleep(0.001)
        quorum.leader_id = 3
        assert (await asyncio.wait_for(sending, 2)).error_code == 0
        channel.close()


async def test_a_client_that_does_not_wait_long_breaks_nobody_elses_conversation() -> None:
    answers: list[asyncio.Future[BrokerHeartbeatResponse]] = []

    def later(request: Any) -> asyncio.Future[BrokerHeartbeatResponse]:
        answers.append(asyncio.get_running_loop().create_future())
        return answers[-1]

    node = Peer(VERSIONS, {ApiKey.BROKER_HEARTBEAT: later, ApiKey.ENVELOPE: lambda request: None})
    async with listening(node):
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        beating = asyncio.ensure_future(channel.send(HEARTBEAT, timeout_ms=5000))
        while not answers:
            await asyncio.sleep(0.001)
        header = RequestHeader(
            request_api_key=ApiKey.CREATE_TOPICS, request_api_version=6, correlation_id=1, client_id="cli"
        )
        request = CreateTopicsRequest(topics=[], timeout_ms=30)
        begun = ENV.clock.monotonic()
        with pytest.raises(ControllerUnavailable):
            await channel.forward(request, header, client_host="::1", timeout_ms=30)
        assert ENV.clock.monotonic() - begun < 0.5
        answers[0].set_result(heartbeat_answer())
        assert (await beating).error_code == 0
        assert len(answers) == 1
        channel.close()


async def test_a_client_request_travels_in_an_envelope() -> None:
    def unpack(request: EnvelopeRequest) -> EnvelopeResponse:
        header, body = decode_request_header(request.request_data)
        assert (header.request_api_version, header.correlation_id, header.client_id) == (5, 42, "cli")
        assert CreateTopicsRequest.decode(body, 5).topics[0].name == "new"
        assert request.request_principal == serialize_principal("User", "ANONYMOUS")
        assert request.client_host_address == bytes([10, 0, 0, 7])
        inner = CreateTopicsResponse(topics=[CreateTopicsResponse.Topic(name="new", error_code=0, error_message=None)])
        return EnvelopeResponse(response_data=b"".join(encode_response(42, 5, inner))[4:], error_code=0)

    node = Peer(VERSIONS, {ApiKey.ENVELOPE: unpack})
    request = CreateTopicsRequest(
        topics=[
            CreateTopicsRequest.Topic(name="new", num_partitions=1, replication_factor=1, assignments=[], configs=[])
        ],
        timeout_ms=1000,
    )
    header = RequestHeader(
        request_api_key=ApiKey.CREATE_TOPICS, request_api_version=5, correlation_id=42, client_id="cli"
    )
    async with listening(node):
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        answer = await channel.forward(request, header, client_host="10.0.0.7", timeout_ms=5000)
        assert isinstance(answer, CreateTopicsResponse)
        assert answer.topics[0].name == "new"
        channel.close()


async def test_a_local_forward_says_who_asks() -> None:
    local = Local(is_active=True)
    channel = ControllerChannel(ENV, 1, Quorum(1), local)
    header = RequestHeader(
        request_api_key=ApiKey.CREATE_TOPICS, request_api_version=6, correlation_id=1, client_id="cli"
    )
    await channel.forward(CreateTopicsRequest(topics=[], timeout_ms=1), header, client_host="::1", timeout_ms=100)
    context = local.seen[0][1]
    assert (context.api_version, context.client_host, context.client_id, context.forwarded) == (6, "::1", "cli", True)


async def test_producer_ids_come_in_blocks_and_are_never_given_out_twice() -> None:
    blocks = iter(range(0, 100_000, 5))

    def allocate(request: Any) -> AllocateProducerIdsResponse:
        return AllocateProducerIdsResponse(error_code=0, producer_id_start=next(blocks), producer_id_len=5)

    node = Peer(VERSIONS, {ApiKey.ALLOCATE_PRODUCER_IDS: allocate})
    async with listening(node):
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        ids = await asyncio.gather(*(channel.next_producer_id() for _ in range(23)))
        assert sorted(ids) == list(range(23))
        assert len(node.requests) == 5
        channel.close()


async def test_those_who_wait_for_a_block_in_vain_do_not_wait_one_after_the_other() -> None:
    asked = 0

    async def allocate() -> AllocateProducerIdsResponse:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.02)
        if asked == 1:
            raise ControllerUnavailable("away")
        return AllocateProducerIdsResponse(error_code=0, producer_id_start=7, producer_id_len=1)

    ids = ProducerIds(allocate)
    outcomes = await asyncio.gather(*(ids.next() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, ControllerUnavailable) for outcome in outcomes)
    assert asked == 1
    assert await ids.next() == 7


async def test_a_refused_block_is_told() -> None:
    refusal = AllocateProducerIdsResponse(
        error_code=ErrorCode.STALE_BROKER_EPOCH, producer_id_start=0, producer_id_len=0
    )
    node = Peer(VERSIONS, {ApiKey.ALLOCATE_PRODUCER_IDS: lambda request: refusal})
    async with listening(node):
        channel = ControllerChannel(ENV, 1, Quorum(2, n2=node.port))
        assert await channel.next_producer_id() is ErrorCode.STALE_BROKER_EPOCH
        channel.close()


async def test_who_only_asks_while_there_can_be_a_controller_gives_up_when_most_are_gone() -> None:
    quorum = Quorum(None)
    channel = ControllerChannel(Env.real(), 1, quorum)
    asking = asyncio.ensure_future(channel.send(HEARTBEAT, timeout_ms=30_000, while_possible=True))
    await asyncio.sleep(0.05)
    assert not asking.done()
    quorum.majority_is_gone = True
    with pytest.raises(NoController):
        await asyncio.wait_for(asking, 2)
