"""Links: negotiated, pipelined, and precise about how they fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.cluster.link import (
    Closed,
    Link,
    Links,
    Refused,
    TimedOut,
    Unreachable,
    UnsupportedByPeer,
    probe,
)
from blumfeld.env.environment import Env
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from blumfeld.protocol.messages.produce import ProduceRequest
from tests.cluster.peers import CUT, Peer, listening

ENV = Env.in_memory()
FETCH = FetchRequest(max_wait_ms=0, min_bytes=0, topics=[])
LIST = ListOffsetsRequest(replica_id=-1, topics=[])


class SilentNetwork(RealNetwork):
    """Connection attempts get no answer at all."""

    async def connect(self, host: str, port: int, protocol_factory: Any, timeout: float, *, tls: Any = None) -> Any:
        await asyncio.sleep(timeout)
        raise TimeoutError(f"{host}:{port} did not answer")


SILENT = Env(ENV.clock, ENV.entropy, ENV.disk, SilentNetwork())


def peer(**options: Any) -> Peer:
    return Peer(
        options.get("versions", {ApiKey.FETCH: (4, 17), ApiKey.LIST_OFFSETS: (1, 9)}),
        {
            ApiKey.FETCH: options.get("fetch", lambda request: FetchResponse(session_id=7, responses=[])),
            ApiKey.LIST_OFFSETS: options.get("list_offsets", lambda request: ListOffsetsResponse(topics=[])),
        },
    )


def test_links_work_on_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def ask() -> None:
        async with listening(peer()) as node:
            link = Link(ENV, "127.0.0.1", node.port)
            assert isinstance(await link.send(FETCH), FetchResponse)
            link.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


async def test_versions_are_negotiated_before_anything_is_sent() -> None:
    async with listening(peer()) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        response = await link.send(FETCH)
        assert isinstance(response, FetchResponse)
        assert response.session_id == 7
        await link.send(LIST)
        assert node.seen == [(ApiKey.API_VERSIONS, 4), (ApiKey.FETCH, 17), (ApiKey.LIST_OFFSETS, 9)]
        assert link.connected
        link.close()


async def test_a_version_is_the_highest_that_both_know_and_never_above_the_callers_ceiling() -> None:
    async with listening(peer(versions={ApiKey.FETCH: (4, 99)})) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        assert await link.version_for(FetchRequest) == FetchRequest.VERSIONS.high
        await link.send(FETCH, max_version=12)
        assert node.seen[-1] == (ApiKey.FETCH, 12)
        link.close()


async def test_a_peer_with_older_api_versions_is_asked_again() -> None:
    node = peer()
    node.versions[ApiKey.API_VERSIONS] = (0, 2)
    async with listening(node):
        link = Link(ENV, "127.0.0.1", node.port)
        await link.send(FETCH)
        assert node.seen[:2] == [(ApiKey.API_VERSIONS, 4), (ApiKey.API_VERSIONS, 2)]
        link.close()


async def test_what_the_peer_does_not_serve_is_not_sent() -> None:
    async with listening(peer(versions={ApiKey.FETCH: (90, 99)})) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        with pytest.raises(UnsupportedByPeer, match="Fetch 90 to 99"):
            await link.send(FETCH)
        with pytest.raises(UnsupportedByPeer):
            await link.send(LIST)
        assert link.connected, "the connection is fine"
        link.close()


async def test_requests_are_pipelined_and_share_one_connection() -> None:
    node = peer()
    async with listening(node):
        node.delay_s = 0.01
        link = Link(ENV, "127.0.0.1", node.port)
        answers = await asyncio.gather(*(link.send(FETCH if n % 2 else LIST) for n in range(20)))
        assert [type(answer) for answer in answers] == [ListOffsetsResponse, FetchResponse] * 10
        assert len(node.transports) == 1
        link.close()


async def test_what_has_no_answer_was_handled_when_telling_it_returns() -> None:
    node = Peer({ApiKey.PRODUCE: (3, 9)}, {ApiKey.PRODUCE: lambda request: None})
    async with listening(node):
        link = Link(ENV, "127.0.0.1", node.port)
        await link.tell(ProduceRequest(acks=0, timeout_ms=1, topic_data=[]))
        assert node.seen == [(ApiKey.API_VERSIONS, 4), (ApiKey.PRODUCE, 9), (ApiKey.API_VERSIONS, 4)]
        node.answers[ApiKey.PRODUCE] = lambda request: CUT
        with pytest.raises(Closed):
            await link.tell(ProduceRequest(acks=0, timeout_ms=1, topic_data=[]))


async def test_large_answers_arrive_whole() -> None:
    records = bytes(range(256)) * 20_000
    answer = FetchResponse(
        responses=[
            FetchResponse.Topic(
                topic_id=b"x" * 16,
                partitions=[
                    FetchResponse.Topic.Partition(
                        partition_index=0, error_code=0, high_watermark=0, aborted_transactions=None, records=records
                    )
                ],
            )
        ]
    )
    async with listening(peer(fetch=lambda request: answer)) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        for response in await asyncio.gather(link.send(FETCH), link.send(FETCH)):
            assert response.responses[0].partitions[0].records == records
        link.close()


# --- failures -----------------------------------------------------------------------------------------------------


async def free_port() -> int:
    async with listening(peer()) as node:
        return node.port


async def test_a_refusal_is_told_from_every_other_failure() -> None:
    port = await free_port()
    with pytest.raises(Refused):
        await Link(ENV, "127.0.0.1", port).send(FETCH)
    assert isinstance(await probe(ENV, "127.0.0.1", port), Refused)


async def test_a_host_that_does_not_answer_is_unreachable_but_has_not_refused() -> None:
    link = Link(SILENT, "nowhere", 9, connect_timeout_ms=30)
    with pytest.raises(Unreachable) as failure:
        await link.send(FETCH)
    assert not isinstance(failure.value, Refused)


@pytest.mark.parametrize(("host", "port"), [("controller..local", 9093), ("a" * 64, 9093), ("127.0.0.1", 70_000)])
async def test_what_is_no_address_cannot_be_reached_either(host: str, port: int) -> None:
    with pytest.raises(Unreachable):
        await Link(ENV, host, port).connect()
    assert isinstance(await probe(ENV, host, port), Unreachable)


async def test_a_listening_peer_passes_the_probe() -> None:
    async with listening(peer()) as node:
        assert await probe(ENV, "127.0.0.1", node.port) is None


async def test_a_peer_that_accepts_but_never_answers_times_out() -> None:
    async with listening(peer(fetch=lambda request: None)) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        with pytest.raises(TimedOut):
            await link.send(FETCH, timeout_ms=30)
        assert not link.connected, "late answers cannot come"
        await link.send(LIST)
        assert len(node.transports) == 2
        link.close()


async def test_a_timeout_of_one_request_fails_the_others_on_that_connection() -> None:
    async with listening(peer(fetch=lambda request: None)) as node:
        link = Link(ENV, "127.0.0.1", node.port)
        patient = asyncio.ensure_future(link.send(FETCH, timeout_ms=5000))
        with pytest.raises(TimedOut):
            await link.send(FETCH, timeout_ms=30)
        with pytest.raises(TimedOut):
            await patient


async def test_a_broken_connection_fails_all_in_flight_and_is_told_once() -> None:
    lost: list[Link] = []
    node = peer(fetch=lambda request: None)
    async with listening(node):
        link = Link(ENV, "127.0.0.1", node.port, on_lost=lost.append)
        first, second = (asyncio.ensure_future(link.send(FETCH)) for _ in range(2))
        while len(node.requests) < 2:
            await asyncio.sleep(0.001)
        node.cut()
        for sending in (first, second):
            with pytest.raises(Closed):
                await sending
        assert lost == [link]
        assert not link.connected


async def test_a_broken_connection_is_made_again_when_needed() -> None:
    node = peer(fetch=lambda request: CUT)
    async with listening(node):
        link = Link(ENV, "127.0.0.1", node.port)
        with pytest.raises(Closed):
            await link.send(FETCH)
        assert isinstance(await link.send(LIST), ListOffsetsResponse)
        link.close()


async def test_closing_is_not_losing() -> None:
    lost: list[Link] = []
    async with listening(peer(fetch=lambda request: None)) as node:
        link = Link(ENV, "127.0.0.1", node.port, on_lost=lost.append)
        sending = asyncio.ensure_future(link.send(FETCH))
        while not node.requests:
            await asyncio.sleep(0.001)
        link.close()
        with pytest.raises(Closed):
            await sending
        assert lost == []


async def test_closing_while_connecting_fails_who_waits() -> None:
    link = Link(SILENT, "nowhere", 9)
    sending = asyncio.ensure_future(link.send(FETCH))
    await asyncio.sleep(0.01)
    link.close()
    with pytest.raises(Closed):
        await sending


async def test_a_cancelled_request_leaves_the_others_alone() -> None:
    node = peer()
    async with listening(node):
        node.delay_s = 0.02
        link = Link(ENV, "127.0.0.1", node.port)
        await link.connect()
        gone, stays = (asyncio.ensure_future(link.send(FETCH)) for _ in range(2))
        await asyncio.sleep(0.005)
        gone.cancel()
        assert isinstance(await stays, FetchResponse)
        assert link.connected
        link.close()


async def test_an_answer_that_makes_no_sense_breaks_the_connection() -> None:
    node = peer()
    async with listening(node):
        link = Link(ENV, "127.0.0.1", node.port)
        await link.connect()
        sending = asyncio.ensure_future(link.send(FETCH))
        await asyncio.sleep(0)
        node.transports[0].write(b"\x00\x00\x00\x05" + (99).to_bytes(4, "big") + b"\x00")
        with pytest.raises((ProtocolError, Closed)):
            await sending
        assert not link.connected


async def test_links_are_kept_by_address() -> None:
    async with listening(peer()) as node:
        links = Links(ENV)
        await links.send("127.0.0.1", node.port, FETCH, timeout_ms=1000)
        await links.send("127.0.0.1", node.port, LIST, timeout_ms=1000)
        assert len(node.transports) == 1
        links.close()
