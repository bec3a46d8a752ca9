"""Fetch: what readers get, and how long they wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from blumfeld.broker.api.fetch import fetch
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.records import end_transaction_batch, read_records
from tests.cluster.world import World, batch, context

_Asked = FetchRequest.Topic.Partition
_Answer = FetchResponse.Topic.Partition


@pytest.fixture
def world() -> World:
    return World(3)


def request(
    *positions: tuple[int, int],
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    session: tuple[int, int] = (0, -1),
    isolation: int = 0,
    replica_id: int = -1,
    topic: str = "t",
    topic_id: bytes = bytes(16),
) -> FetchRequest:
    return FetchRequest(
        replica_id=replica_id,
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation,
        session_id=session[0],
        session_epoch=session[1],
        topics=[
            FetchRequest.Topic(
                topic=topic,
                topic_id=topic_id,
                partitions=[
                    _Asked(
                        partition=index,
                        fetch_offset=offset,
                        partition_max_bytes=partition_max_bytes,
                        current_leader_epoch=leader_epoch,
                        last_fetched_epoch=last_fetched_epoch,
                    )
                    for index, offset in positions
                ],
            )
        ]
        if positions
        else [],
    )


def ask(world: World, asked: FetchRequest, *, version: int = 12, broker: int = 1) -> Any:
    return fetch(world[broker].broker, context(ApiKey.FETCH, version), asked)


def parts(response: Any) -> list[_Answer]:
    assert isinstance(response, FetchResponse), "answered by plain return"
    assert response.error_code == ErrorCode.NONE
    return [data for topic in response.responses for data in topic.partitions]


def values(data: _Answer) -> list[str]:
    assert data.records is not None
    return [(r.value or b"").decode() for one in iterate_batches(data.records) for r in read_records(one)]


async def waited(response: Any) -> list[_Answer]:
    assert isinstance(response, Awaitable)
    return parts(await asyncio.wait_for(asyncio.ensure_future(response), 60))


# --- what there is ------------------------------------------------------------------------------------------------


def test_records_from_an_offset_on(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world[1].produce("b", "c")
    (data,) = parts(ask(world, request((0, 1))))
    assert values(data) == ["b", "c"]
    assert (data.high_watermark, data.last_stable_offset, data.log_start_offset) == (3, 3, 0)
    assert data.aborted_transactions is None


def test_only_what_is_committed(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    (data,) = parts(ask(world, request((0, 0))))
    assert (values(data), data.high_watermark) == ([], 0)
    world.replicate()
    (data,) = parts(ask(world, request((0, 0))))
    assert (values(data), data.high_watermark) == (["a"], 1)


def test_a_partition_whose_disk_fails_is_a_storage_error_and_the_others_are_read(world: World) -> None:
    world.create_topic([1], partitions=2)
    for index in (0, 1):
        partition = world[1].partition(index)
        partition.append_as_leader(batch("a"), acks=1, now=0.0, now_ms=world.clock.time_ms())
        partition.log.update_high_watermark(1)
    world[1].partition(0).log.home.fail(OSError(5, "Input/output error"), "reading")
    failed, fine = parts(ask(world, request((0, 0), (1, 0))))
    assert failed.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert not failed.records
    assert (fine.error_code, values(fine)) == (ErrorCode.NONE, ["a"])


def test_offsets_outside_the_log(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world[1].partition().delete_records(1)
    for offset in (0, 2):
        (data,) = parts(ask(world, request((0, offset))))
        assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert (data.high_watermark, data.records) == (-1, b"")
    (data,) = parts(ask(world, request((0, 1))))
    assert data.error_code == ErrorCode.NONE


def test_partitions_that_are_not_here(world: World) -> None:
    topic_id = world.create_topic([2])
    (data,) = parts(ask(world, request((0, 0))))
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    (data,) = parts(ask(world, request((5, 0))))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    (data,) = parts(ask(world, request((0, 0), topic="", topic_id=b"x" * 16), version=13))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_ID
    response = ask(world, request((0, 0), topic="", topic_id=topic_id), version=16)
    (data,) = parts(response)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (data.current_leader.leader_id, data.current_leader.leader_epoch) == (2, 0)
    assert [(node.node_id, node.port) for node in response.node_endpoints] == [(2, 9002)]


def test_leader_epochs_are_checked(world: World) -> None:
    world.create_topic([1])
    world.elect(1, [1])
    (data,) = parts(ask(world, request((0, 0), leader_epoch=0)))
    assert data.error_code == ErrorCode.FENCED_LEADER_EPOCH
    (data,) = parts(ask(world, request((0, 0), leader_epoch=2)))
    assert data.error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_consumer_whose_history_differs_is_told_where(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world.elect(1, [1])
    world[1].produce("b")
    (data,) = parts(ask(world, request((0, 2), last_fetched_epoch=0)))
    assert (data.diverging_epoch.epoch, data.diverging_epoch.end_offset) == (0, 1)
    (data,) = parts(ask(world, request((0, 1), last_fetched_epoch=0)))
    assert values(data) == ["b"]


def test_consumers_of_version_11_may_read_from_followers(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    (data,) = parts(ask(world, request((0, 0)), version=11, broker=2))
    assert values(data) == ["a"]
    (data,) = parts(ask(world, request((0, 0)), version=10, broker=2))
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_follower_shows_nothing_before_its_leader_has_agreed_with_its_history(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world.elect(1, [1, 2])
    (data,) = parts(ask(world, request((0, 0)), version=11, broker=2))
    assert data.error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    world.replicate()
    (data,) = parts(ask(world, request((0, 0)), version=11, broker=2))
    assert values(data) == ["a"]


# --- how much -----------------------------------------------------------------------------------------------------


def test_nothing_is_remembered_of_replicas_that_no_broker_is(world: World) -> None:
    world.create_topic([1, 2])
    for replica_id in range(2, 100):
        ask(world, request((0, 0), replica_id=replica_id))
    assert set(world[1].membership.last_fetch) == {2, 3}


def test_a_first_batch_larger_than_allowed_comes_all_the_same(world: World) -> None:
    world.create_topic([1], partitions=2)
    world[1].produce("x" * 1000, index=0)
    world[1].produce("x" * 1000, index=1)
    first, second = parts(ask(world, request((0, 0), (1, 0), max_bytes=10, partition_max_bytes=10)))
    assert len(values(first)) == 1
    assert values(second) == [], "that is for the first partition with records alone"


def test_the_limit_of_a_partition_and_of_the_whole(world: World) -> None:
    world.create_topic([1], partitions=3)
    size = len(batch("x" * 100))
    for index in range(3):
        for _ in range(5):
            world[1].produce("x" * 100, index=index)
    found = parts(ask(world, request((0, 0), (1, 0), (2, 0), partition_max_bytes=2 * size)))
    assert [len(values(data)) for data in found] == [2, 2, 2]
    found = parts(ask(world, request((0, 0), (1, 0), (2, 0), max_bytes=6 * size)))
    assert [len(values(data)) for data in found] == [5, 1, 0]


@pytest.mark.parametrize("limit", [0, -1, -(1 << 31)])
def test_who_allows_less_than_nothing_gets_a_first_batch_too(
    world: World, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.create_topic([1])
    for _ in range(2):
        world[1].produce("x" * 1000)
    for asked in (request((0, 0), max_bytes=limit), request((0, 0), partition_max_bytes=limit)):
        (data,) = parts(ask(world, asked))
        assert (data.error_code, len(values(data))) == (ErrorCode.NONE, 1)
    assert not caplog.records, "nothing is damaged"


def test_fetch_max_bytes_bounds_whatever_is_asked(world: World) -> None:
    world.create_topic([1])
    world[1].broker.config = world[1].broker.config.with_dynamic({}, {})
    from blumfeld.config.sources import Layer

    world[1].broker.config = world[1].broker.config.with_layer(Layer("test", {"fetch.max.bytes": "1024"}))
    for _ in range(20):
        world[1].produce("x" * 200)
    (data,) = parts(ask(world, request((0, 0))))
    assert 0 < len(data.records or b"") <= 1024


# --- how long -----------------------------------------------------------------------------------------------------


async def test_a_fetch_waits_for_records(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1], partitions=2)
    response = ask(world, request((0, 0), (1, 0), max_wait_ms=10_000))
    assert len(purgatory) == 1
    world[1].produce("a", index=1)
    first, second = await waited(response)
    assert (values(first), values(second)) == ([], ["a"])
    assert len(purgatory) == 0


async def test_it_waits_for_the_commit_not_for_the_append(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    response = ask(world, request((0, 0), max_wait_ms=10_000))
    world[1].produce("a")
    await asyncio.sleep(0)
    assert not response.done()
    world.replicate()
    (data,) = await waited(response)
    assert values(data) == ["a"]


async def test_it_waits_for_min_bytes_over_all_partitions(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1], partitions=2)
    size = len(batch("x" * 100))
    world[1].produce("x" * 100, index=0)
    response = ask(world, request((0, 0), (1, 0), max_wait_ms=10_000, min_bytes=3 * size))
    world[1].produce("x" * 100, index=1)
    assert not response.done()
    world[1].produce("x" * 100, index=1)
    first, second = await waited(response)
    assert (len(values(first)), len(values(second))) == (1, 2)


async def test_no_longer_than_asked(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1])
    world[1].produce("a")
    response = ask(world, request((0, 0), max_wait_ms=500, min_bytes=1 << 20))
    world.clock.advance(ms=501)
    purgatory.expire()
    (data,) = await waited(response)
    assert values(data) == ["a"]


async def test_an_error_is_not_waited_for(world: World) -> None:
    world.create_topic([1])
    errors = [data.error_code for data in parts(ask(world, request((0, 0), (9, 0), max_wait_ms=10_000)))]
    assert errors == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


async def test_a_waiting_fetch_hears_that_the_leader_changed(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    response = ask(world, request((0, 0), max_wait_ms=10_000), version=10)
    world.elect(2, [1, 2])
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_a_waiting_fetch_hears_that_the_topic_is_gone(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1])
    response = ask(world, request((0, 0), max_wait_ms=10_000))
    world.delete_topic()
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_fetch_of_nothing_does_not_wait(world: World) -> None:
    assert parts(ask(world, request(max_wait_ms=10_000))) == []


# --- sessions -----------------------------------------------------------------------------------------------------


def test_an_incremental_answer_has_only_news(world: World) -> None:
    world.create_topic([1], partitions=3)
    response = ask(world, request((0, 0), (1, 0), (2, 0), session=(0, 0)))
    assert response.session_id != 0
    assert len(parts(response)) == 3
    session = response.session_id
    assert parts(ask(world, request(session=(session, 1)))) == []
    world[1].produce("a", index=1)
    (data,) = parts(ask(world, request(session=(session, 2))))
    assert (data.partition_index, values(data)) == (1, ["a"])
    (data,) = parts(ask(world, request(session=(session, 3))))
    assert values(data) == ["a"], "the reader did not say that it has them"
    assert parts(ask(world, request((1, 1), session=(session, 4)))) == []


def test_in_a_session_errors_are_repeated_until_they_end(world: World) -> None:
    world.create_topic([2])
    response = ask(world, request((0, 0), session=(0, 0)))
    for epoch in (1, 2):
        (data,) = parts(ask(world, request(session=(response.session_id, epoch))))
        assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_in_a_session_partitions_with_records_take_turns(world: World) -> None:
    world.create_topic([1], partitions=3)
    for index in range(3):
        for _ in range(3):
            world[1].produce("x" * 100, index=index)
    response = ask(world, request((0, 0), (1, 0), (2, 0), session=(0, 0), max_bytes=1))
    firsts = [next(data.partition_index for data in parts(response) if data.records)]
    for epoch in (1, 2):
        answer = ask(world, request(session=(response.session_id, epoch), max_bytes=1))
        firsts.append(next(data.partition_index for data in parts(answer) if data.records))
    assert sorted(firsts) == [0, 1, 2]


async def test_a_fetch_waits_in_its_session(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1], partitions=3)
    session = ask(world, request((0, 0), (1, 0), (2, 0), session=(0, 0))).session_id
    response = ask(world, request(session=(session, 1), max_wait_ms=10_000))
    world[1].produce("a", index=2)
    (data,) = await waited(response)
    assert (data.partition_index, values(data)) == (2, ["a"])


async def test_a_fetch_that_is_overtaken_in_its_session_ends_at_once(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1])
    session = ask(world, request((0, 0), session=(0, 0))).session_id
    waiting = ask(world, request(session=(session, 1), max_wait_ms=10_000))
    second = ask(world, request(session=(session, 2)))
    assert parts(second) == []
    response = await asyncio.wait_for(waiting, 60)
    assert response.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    world[1].produce("a")
    (data,) = parts(ask(world, request(session=(session, 3))))
    assert values(data) == ["a"]


async def test_a_waiting_fetch_ends_with_its_session(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1])
    session = ask(world, request((0, 0), session=(0, 0))).session_id
    waiting = ask(world, request(session=(session, 1), max_wait_ms=10_000))
    ask(world, request((0, 0), session=(session, 0)))
    response = await asyncio.wait_for(waiting, 60)
    assert response.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH


# --- read_committed -----------------------------------------------------------------------------------------------


def test_read_committed_stops_at_the_last_stable_offset_and_names_aborted_transactions(world: World) -> None:
    world.create_topic([1])
    partition = world[1].partition()
    now: dict[str, Any] = {"now": 0.0, "now_ms": world.clock.time_ms()}
    options: dict[str, Any] = {"producer_id": 5, "producer_epoch": 0, "transactional": True}
    world[1].produce("before")
    partition.append_as_leader(batch("in it", base_sequence=0, **options), acks=1, **now)
    world[1].produce("after")
    (data,) = parts(ask(world, request((0, 0), isolation=1)))
    assert values(data) == ["before"]
    assert (data.high_watermark, data.last_stable_offset) == (3, 1)
    assert data.aborted_transactions == []
    (data,) = parts(ask(world, request((0, 0), isolation=0)))
    assert len(values(data)) == 3
    marker = end_transaction_batch(
        commit=False,
        base_offset=0,
        leader_epoch=0,
        producer_id=5,
        producer_epoch=0,
        coordinator_epoch=0,
        timestamp=world.clock.time_ms(),
    )
    partition.append_as_leader(marker, acks=1, origin="coordinator", **now)
    (data,) = parts(ask(world, request((0, 0), isolation=1)))
    assert data.last_stable_offset == 4
    assert data.aborted_transactions is not None
    assert [(a.producer_id, a.first_offset) for a in data.aborted_transactions] == [(5, 1)]


async def test_a_transaction_index_that_cannot_be_read_is_a_storage_error_and_none_of_who_appends(
    world: World,
) -> None:
    world[1].with_purgatory()
    world.create_topic([1])
    waiting = ask(world, request((0, 0), isolation=1, max_wait_ms=60_000))
    world[1].partition().log.active.txn_index.exists = True  # but there is no file
    assert world[1].produce("a").error is ErrorCode.NONE
    (data,) = await waited(waiting)
    assert (data.error_code, data.records) == (ErrorCode.KAFKA_STORAGE_ERROR, b"")
    (data,) = parts(ask(world, request((0, 0))))
    assert data.error_code == ErrorCode.KAFKA_STORAGE_ERROR, "the directory is offline"
