"""Replica fetchers over real sockets: a leader's handlers behind a listener, a follower's fetcher before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import pytest

from blumfeld.broker.api.fetch import fetch
from blumfeld.broker.api.list_offsets import list_offsets
from blumfeld.cluster.fetcher import Fetchers
from blumfeld.cluster.partition import Partition
from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import SystemClock
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.metadata_log import RegisterBrokerRecord
from blumfeld.storage.log_config import LogConfig
from tests.cluster.peers import Peer, listening
from tests.cluster.world import Member, World, batch, context


class Replicating(World):
    """A world in which brokers listen, and broker 2 has real fetchers."""

    def __init__(self) -> None:
        super().__init__(2)
        self.peer: Peer = leader_peer(self[1])

    def listens(self, node_id: int, port: int) -> None:
        """The broker's registration says where it listens."""
        epoch = self.offset + 1
        self.commit(
            RegisterBrokerRecord(
                broker_id=node_id,
                incarnation_id=bytes([node_id]) * 16,
                broker_epoch=epoch,
                end_points=[
                    RegisterBrokerRecord.Endpoint(name="PLAINTEXT", host="127.0.0.1", port=port, security_protocol=0)
                ],
                features=[],
                rack=None,
                fenced=False,
            )
        )
        self.members[node_id].membership.broker_epoch = epoch


def leader_peer(member: Member) -> Peer:
    """A node that serves Fetch and ListOffsets as that broker."""
    member.with_purgatory()

    def serve(request: Any) -> Any:
        return fetch(member.broker, context(ApiKey.FETCH, 17), request)

    def look_up(request: Any) -> Any:
        return list_offsets(member.broker, context(ApiKey.LIST_OFFSETS, 9), request)

    return Peer(
        {ApiKey.FETCH: (4, 18), ApiKey.LIST_OFFSETS: (1, 11)}, {ApiKey.FETCH: serve, ApiKey.LIST_OFFSETS: look_up}
    )


def flush(partition: Partition, offset: int) -> Future[int]:
    """As the log manager's group commit, at once."""
    future: Future[int] = Future()
    future.set_result(partition.log.flush(offset))
    return future


@asynccontextmanager
async def fetching(world: Replicating, **properties: str) -> AsyncIterator[Fetchers]:
    """Broker 2 with real fetchers."""
    member = world[2]
    env = Env(SystemClock(), SeededEntropy(2), member.disk, RealNetwork())
    config = Config([Layer("test", {"replica.fetch.backoff.ms": "200", **properties})])
    fetchers = Fetchers(env, config, member.membership, "PLAINTEXT", member.replicas.settle, flush)
    member.replicas._followed = fetchers
    try:
        yield fetchers
    finally:
        await fetchers.stop()


async def until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[Replicating]:
    world = Replicating()
    async with listening(world.peer):
        world.listens(1, world.peer.port)
        yield world


async def test_records_arrive_as_they_are_written(world: Replicating) -> None:
    async with fetching(world):
        world.create_topic([1, 2])
        for number in range(20):
            world[1].produce(str(number), acks=-1)
            await until(lambda: world[1].partition().high_watermark == world[1].partition().log_end_offset, 1.0)
        assert world[2].values() == [str(number) for number in range(20)]


async def test_a_partition_added_during_a_long_poll_does_not_wait_for_its_end(world: Replicating) -> None:
    async with fetching(world, **{"replica.fetch.wait.max.ms": "30000"}):
        world.create_topic([1, 2], name="a")
        await until(lambda: len(world[1].broker.fetch_sessions) == 1)
        await asyncio.sleep(0.05)  # a long poll hangs now
        for number in range(5):
            world.create_topic([1, 2], name=f"b{number}")
            partition = world[1].replicas.find_by_name(f"b{number}", 0)
            assert partition is not None
            partition.append_as_leader(batch("x"), acks=1, now=world.clock.monotonic(), now_ms=world.clock.time_ms())
            world[1].replicas.settle(partition)
            await until(lambda: partition.high_watermark == 1, 1.0)  # noqa: B023  (awaited within the turn)
        assert len(world[1].broker.fetch_sessions) == 1


async def test_nothing_is_fetched_before_the_broker_is_registered(world: Replicating) -> None:
    async with fetching(world) as fetchers:
        epoch = world[2].membership.broker_epoch
        world[2].membership.broker_epoch = -1
        world.create_topic([1, 2])
        world[1].produce("a")
        await asyncio.sleep(0.05)
        assert world[2].values() == []
        world[2].membership.broker_epoch = epoch
        fetchers.registered()
        await until(lambda: world[2].values() == ["a"])


async def test_nothing_is_fetched_after_the_end_whatever_metadata_says(world: Replicating) -> None:
    async with fetching(world) as fetchers:
        world.create_topic([1, 2])
        world[1].produce("a")
        await until(lambda: world[2].values() == ["a"])
        await fetchers.stop()
        world.create_topic([1, 2], name="new")
        world[1].produce("b")
        await asyncio.sleep(0.1)
        assert world[2].values() == ["a"]
        assert not fetchers._fetchers


async def test_a_broken_connection_is_made_again(world: Replicating) -> None:
    async with fetching(world):
        world.create_topic([1, 2])
        world[1].produce("a")
        await until(lambda: world[2].values() == ["a"])
        world.peer.cut()
        world[1].produce("b")
        await until(lambda: world[2].values() == ["a", "b"])


async def test_a_leader_that_is_away_is_tried_again_until_it_is_back() -> None:
    world = Replicating()
    async with listening(leader_peer(world[1])) as peer:
        port = peer.port
    async with fetching(world):
        world.listens(1, port)
        world.create_topic([1, 2])
        world[1].produce("a")
        await asyncio.sleep(0.1)
        async with listening(leader_peer(world[1]), port):
            await until(lambda: world[2].values() == ["a"])


async def test_a_leader_that_moved_is_found_by_its_registration(world: Replicating) -> None:
    async with fetching(world, **{"replica.fetch.wait.max.ms": "30000"}):
        world.create_topic([1, 2])
        world[1].produce("a")
        await until(lambda: world[2].values() == ["a"])
        async with listening(leader_peer(world[1])) as elsewhere:
            world.listens(1, elsewhere.port)
            world[1].produce("b")
            await until(lambda: world[2].values() == ["a", "b"])
            assert elsewhere.transports


async def test_a_leader_that_nothing_is_fetched_from_is_left(world: Replicating) -> None:
    async with fetching(world) as fetchers:
        world.create_topic([1, 2])
        await until(lambda: len(world[1].broker.fetch_sessions) == 1)
        world.delete_topic()
        await until(lambda: not fetchers._fetchers and not fetchers._stopping)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_follower_behind_the_leaders_start_looks_up_where_to_begin(world: Replicating) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    for _ in range(5):
        world[1].produce("x")
    world[1].partition().delete_records(3)
    async with fetching(world):
        world.elect(1, [1])  # a new leader epoch: followed anew
        await until(lambda: world[2].partition().log_end_offset == 5)
        assert world[2].partition().log_start_offset == 3


async def test_a_flush_policy_holds_on_followers_too(world: Replicating) -> None:
    async with fetching(world):
        world.create_topic([1, 2])
        log = world[2].partition().log
        log.update_config(LogConfig(flush_messages=1))
        for number in range(3):
            world[1].produce(str(number), acks=-1)
            await until(lambda: world[1].partition().high_watermark == world[1].partition().log_end_offset)
            assert log.recovery_point == log.log_end_offset, "what the leader counts is on the device"


async def test_stopping_leaves_no_task_behind(world: Replicating) -> None:
    async with fetching(world):
        world.create_topic([1, 2])
        await until(lambda: len(world[1].broker.fetch_sessions) == 1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
