"""ListOffsets: offsets by timestamp, and the special ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from blumfeld.broker.api.list_offsets import list_offsets
from blumfeld.protocol import records as records_module
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse
from blumfeld.protocol.records import Record, build_batch
from tests.cluster.world import World, context

T0 = 1_700_000_000_000


@pytest.fixture
def world() -> World:
    world = World(2)
    world.create_topic([1])
    partition = world[1].partition()
    for base in (0, 100, 200):
        records = [Record(i, T0 + base + i, None, b"x", ()) for i in range(3)]
        partition.append_as_leader(build_batch(records), acks=1, now=0.0, now_ms=world.clock.time_ms())
    return world


def ask(
    world: World,
    timestamp: int,
    *,
    version: int = 11,
    broker: int = 1,
    index: int = 0,
    replica_id: int = -1,
    isolation: int = 0,
    leader_epoch: int = -1,
) -> ListOffsetsResponse.Topic.Partition:
    asked = ListOffsetsRequest.Topic.Partition(
        partition_index=index, timestamp=timestamp, current_leader_epoch=leader_epoch
    )
    request = ListOffsetsRequest(
        replica_id=replica_id,
        isolation_level=isolation,
        topics=[ListOffsetsRequest.Topic(name="t", partitions=[asked])],
    )
    response = list_offsets(world[broker].broker, context(ApiKey.LIST_OFFSETS, version), request)
    assert isinstance(response, ListOffsetsResponse), "all of it is in memory"
    return response.topics[0].partitions[0]


def test_latest_and_earliest(world: World) -> None:
    latest = ask(world, -1)
    assert (latest.error_code, latest.offset, latest.timestamp, latest.leader_epoch) == (0, 9, -1, 0)
    world[1].partition().delete_records(4)
    earliest = ask(world, -2)
    assert (earliest.offset, earliest.timestamp, earliest.leader_epoch) == (4, -1, 0)
    assert ask(world, -4).offset == 4


def test_the_first_record_not_older_than_a_timestamp(world: World) -> None:
    found = ask(world, T0 + 50)
    assert (found.offset, found.timestamp) == (3, T0 + 100)
    assert ask(world, T0 + 101).offset == 4
    assert ask(world, 0).offset == 0
    none = ask(world, T0 + 1000)
    assert (none.error_code, none.offset, none.timestamp) == (0, -1, -1)


def test_the_record_with_the_largest_timestamp(world: World) -> None:
    found = ask(world, -3)
    assert (found.offset, found.timestamp) == (8, T0 + 202)


def test_nothing_is_tiered(world: World) -> None:
    for timestamp in (-5, -6):
        answer = ask(world, timestamp)
        assert (answer.error_code, answer.offset) == (0, -1)


@pytest.mark.parametrize(("timestamp", "since"), [(-3, 7), (-4, 8), (-5, 9), (-6, 11)])
def test_special_timestamps_have_a_first_version(world: World, timestamp: int, since: int) -> None:
    assert ask(world, timestamp, version=since - 1).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert ask(world, timestamp, version=since).error_code == ErrorCode.NONE
    assert ask(world, -7).error_code == ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("timestamp", [T0, -1, -2, -3, -4])
def test_a_partition_whose_disk_fails_is_a_storage_error(world: World, timestamp: int) -> None:
    world[1].partition().log.home.fail(OSError(5, "Input/output error"), "reading")
    assert ask(world, timestamp).error_code == ErrorCode.KAFKA_STORAGE_ERROR


def test_consumers_see_what_is_committed_and_followers_all() -> None:
    world = World(2)
    world.create_topic([1, 2])
    world[1].produce("a")
    assert ask(world, -1).offset == 0
    assert ask(world, -1, replica_id=2).offset == 1
    assert ask(world, 0).offset == -1, "not committed yet"


def test_a_new_leader_that_does_not_know_the_high_watermark_yet_says_so() -> None:
    world = World(2)
    world.create_topic([1, 2])
    world[1].produce("a")
    world[2].fetch(world[1], times=2)
    world.elect(2, [1, 2])
    assert ask(world, -1, broker=2).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert ask(world, -1, broker=2, version=4).error_code == ErrorCode.LEADER_NOT_AVAILABLE
    assert ask(world, 0, broker=2).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert ask(world, -2, broker=2).error_code == ErrorCode.NONE
    assert ask(world, -1, broker=2, replica_id=1).error_code == ErrorCode.NONE
    world.replicate()
    assert ask(world, -1, broker=2).offset == 1


def test_only_leaders_answer_and_only_in_their_epoch(world: World) -> None:
    assert ask(world, -1, broker=2).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert ask(world, -1, index=9).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(world, -1, leader_epoch=5).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert ask(world, -1, leader_epoch=-2).error_code == ErrorCode.FENCED_LEADER_EPOCH
    world.elect(1, [1])
    assert ask(world, -1, leader_epoch=0).error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_a_partition_asked_twice_is_refused(world: World) -> None:
    asked = ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=-1)
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name="t", partitions=[asked, asked])])
    response = list_offsets(world[1].broker, context(ApiKey.LIST_OFFSETS, 11), request)
    assert isinstance(response, ListOffsetsResponse)
    assert [data.error_code for data in response.topics[0].partitions] == [ErrorCode.INVALID_REQUEST] * 2


# Look-ups that have to unpack a batch, or to wait for the device.
class Gate:
    """Holds every thread that opens records until it is opened itself."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.threads: list[threading.Thread] = []

    async def someone_waits(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    read_records = records_module.read_records

    def read_later(*args: Any) -> Any:
        gate.threads.append(threading.current_thread())
        gate.reached.set()
        assert gate.threads[-1] is threading.main_thread() or gate.opened.wait(30)
        return read_records(*args)

    monkeypatch.setattr(records_module, "read_records", read_later)
    yield gate
    gate.opened.set()


@pytest.fixture
def packed(world: World) -> World:
    """Partition 1 has records 0…2 compressed, at the same times as those of partition 0."""
    world.delete_topic("t")
    world.create_topic([1], partitions=2)
    for index, codec in ((0, Codec.NONE), (1, Codec.GZIP)):
        records = [Record(i, T0 + i, None, b"x" * 100, ()) for i in range(3)]
        world[1].partition(index).append_as_leader(
            build_batch(records, codec=codec), acks=1, now=0.0, now_ms=world.clock.time_ms()
        )
    return world


def ask_all(
    world: World, *asked: tuple[int, int], version: int = 11, leader_epoch: int = -1
) -> ListOffsetsResponse | Awaitable[ListOffsetsResponse]:
    """(partition, timestamp) each."""
    partitions = [
        ListOffsetsRequest.Topic.Partition(partition_index=index, timestamp=time, current_leader_epoch=leader_epoch)
        for index, time in asked
    ]
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.Topic(name="t", partitions=partitions)])
    return list_offsets(world[1].broker, context(ApiKey.LIST_OFFSETS, version), request)


def begin(*args: Any, **options: Any) -> asyncio.Future[ListOffsetsResponse]:
    response = ask_all(*args, **options)
    assert not isinstance(response, ListOffsetsResponse), "it has to be waited for"
    return asyncio.ensure_future(response)


async def finish(task: asyncio.Future[ListOffsetsResponse], gate: Gate) -> list[tuple[int, int, int, int]]:
    """Partition, error, offset and timestamp of each answer."""
    gate.opened.set()
    response = await asyncio.wait_for(task, 30)
    assert gate.threads
    assert threading.main_thread() not in gate.threads
    return [(p.partition_index, p.error_code, p.offset, p.timestamp) for p in response.topics[0].partitions]


async def test_the_loop_serves_others_while_a_thread_looks_a_time_up(packed: World, gate: Gate) -> None:
    task = begin(packed, (1, T0 + 1))
    await gate.someone_waits()
    assert ask(packed, -1, index=1).offset == 3
    assert packed[1].produce("more", index=1).error is ErrorCode.NONE
    assert not task.done()
    assert await finish(task, gate) == [(1, 0, 1, T0 + 1)]


async def test_answers_keep_their_places(packed: World, gate: Gate) -> None:
    task = begin(packed, (1, -3), (0, -1), (9, 0), (1 << 20, -2))
    assert await finish(task, gate) == [(1, 0, 2, T0 + 2), (0, 0, 3, -1), (9, 3, -1, -1), (1 << 20, 3, -1, -1)]


@pytest.mark.parametrize("version", [1, 3, 4, 11])
async def test_every_version_gets_it(packed: World, gate: Gate, version: int) -> None:
    task = begin(packed, (1, T0 + 2), version=version)
    assert await finish(task, gate) == [(1, 0, 2, T0 + 2)]
    epoch = task.result().topics[0].partitions[0].leader_epoch
    assert epoch == (0 if version >= 4 else -1)


async def test_the_special_offsets_are_never_waited_for(packed: World) -> None:
    for timestamp in (-1, -2, -4, -5, -6):
        assert isinstance(ask_all(packed, (0, timestamp), (1, timestamp)), ListOffsetsResponse)


async def test_a_topic_that_goes_meanwhile(packed: World, gate: Gate) -> None:
    task = begin(packed, (1, T0))
    await gate.someone_waits()
    packed.delete_topic("t")
    assert await finish(task, gate) == [(1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)]


@pytest.mark.parametrize(
    ("version", "error"), [(4, ErrorCode.LEADER_NOT_AVAILABLE), (5, ErrorCode.OFFSET_NOT_AVAILABLE)]
)
async def test_a_topic_that_another_one_replaces_meanwhile(
    packed: World, gate: Gate, version: int, error: ErrorCode
) -> None:
    task = begin(packed, (1, T0), version=version)
    await gate.someone_waits()
    packed.delete_topic("t")
    packed.create_topic([1], partitions=2)
    packed[1].produce("another", index=1)
    assert await finish(task, gate) == [(1, error, -1, -1)]


async def test_a_leader_that_resigns_meanwhile(packed: World, gate: Gate) -> None:
    asked, fenced = begin(packed, (1, T0)), begin(packed, (1, T0), leader_epoch=0)
    await gate.someone_waits()
    packed.elect(1, [1], index=1)
    assert await finish(asked, gate) == [(1, ErrorCode.OFFSET_NOT_AVAILABLE, -1, -1)]
    assert await finish(fenced, gate) == [(1, ErrorCode.FENCED_LEADER_EPOCH, -1, -1)]


async def test_a_log_that_is_cut_meanwhile(packed: World, gate: Gate) -> None:
    task = begin(packed, (1, T0))
    await gate.someone_waits()
    packed[1].partition(1).log.truncate_to(0)
    assert await finish(task, gate) == [(1, ErrorCode.OFFSET_NOT_AVAILABLE, -1, -1)]
