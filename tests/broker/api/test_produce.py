"""Produce: where records go, and what is answered when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from blumfeld.broker.api.produce import produce
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse
from blumfeld.storage.log_config import LogConfig
from tests.cluster.world import World, batch, context

_Data = ProduceRequest.Topic.Partition


@pytest.fixture
def world() -> World:
    return World(2)


def request(
    *data: tuple[int, Any],
    acks: int = 1,
    topic: str = "t",
    topic_id: bytes = bytes(16),
    timeout_ms: int = 1000,
    transactional_id: str | None = None,
) -> ProduceRequest:
    return ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=timeout_ms,
        topic_data=[
            ProduceRequest.Topic(
                name=topic,
                topic_id=topic_id,
                partition_data=[_Data(index=index, records=records) for index, records in data],
            )
        ],
    )


def answer(world: World, asked: ProduceRequest, *, version: int = 9, broker: int = 1, client: str = "c") -> Any:
    return produce(world[broker].broker, context(ApiKey.PRODUCE, version, client), asked)


def answers(response: Any) -> list[ProduceResponse.Topic.Partition]:
    assert isinstance(response, ProduceResponse), "answered by plain return"
    return [data for topic in response.responses for data in topic.partition_responses]


def test_records_get_offsets(world: World) -> None:
    world.create_topic([1], partitions=2)
    first, second = answers(answer(world, request((0, batch("a", "b")), (1, batch("c")))))
    assert (first.error_code, first.base_offset, first.log_start_offset) == (ErrorCode.NONE, 0, 0)
    assert (second.index, second.base_offset) == (1, 0)
    (third,) = answers(answer(world, request((0, batch("d")))))
    assert third.base_offset == 2
    assert world[1].values() == ["a", "b", "d"]


def test_from_version_13_topics_have_ids(world: World) -> None:
    topic_id = world.create_topic([1])
    (found,) = answers(answer(world, request((0, batch("a")), topic="", topic_id=topic_id), version=13))
    assert found.error_code == ErrorCode.NONE
    (unknown,) = answers(answer(world, request((0, batch("a")), topic="", topic_id=b"x" * 16), version=13))
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_partition_whose_disk_fails_is_a_storage_error_and_the_others_take_records(world: World) -> None:
    world.create_topic([1], partitions=2)
    world[1].partition(0).log.home.fail(OSError(28, "No space left on device"), "writing")
    failed, fine = answers(answer(world, request((0, batch("a")), (1, batch("b")))))
    assert (failed.error_code, failed.base_offset) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)
    assert (fine.error_code, fine.base_offset) == (ErrorCode.NONE, 0)


def test_a_partition_that_is_nowhere(world: World) -> None:
    world.create_topic([1])
    (data,) = answers(answer(world, request((7, batch("a")))))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    (data,) = answers(answer(world, request((0, batch("a")), topic="nowhere")))
    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert data.base_offset == -1


def test_a_partition_led_elsewhere_is_answered_with_its_leader(world: World) -> None:
    world.create_topic([1])
    response = answer(world, request((0, batch("a"))), version=10, broker=2)
    (data,) = answers(response)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (data.current_leader.leader_id, data.current_leader.leader_epoch) == (1, 0)
    (node,) = response.node_endpoints
    assert (node.node_id, node.host, node.port) == (1, "host1", 9001)
    older = answer(world, request((0, batch("a"))), version=9, broker=2)
    assert older.node_endpoints == []


def test_acks_must_be_known(world: World) -> None:
    world.create_topic([1])
    (data,) = answers(answer(world, request((0, batch("a")), acks=2)))
    assert data.error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert world[1].values() == []


def test_what_a_partition_may_carry(world: World) -> None:
    world.create_topic([1])
    two = bytes(batch("a")) + bytes(batch("b"))
    old = batch("a")
    old[16] = 1
    for records in (None, b"", b"short", two, old):
        (data,) = answers(answer(world, request((0, records))))
        assert data.error_code == ErrorCode.INVALID_RECORD, records
    (data,) = answers(answer(world, request((0, batch("a", codec=4))), version=6))
    assert data.error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    (data,) = answers(answer(world, request((0, batch("a", codec=4))), version=7))
    assert data.error_code == ErrorCode.NONE


def test_the_logs_refusals_are_explained(world: World) -> None:
    world.create_topic([1])
    damaged = batch("a")
    damaged[-1] ^= 1
    (data,) = answers(answer(world, request((0, damaged))))
    assert data.error_code == ErrorCode.CORRUPT_MESSAGE
    assert data.error_message
    assert (data.base_offset, data.log_append_time_ms) == (-1, -1)


def test_internal_topics_are_not_for_clients(world: World) -> None:
    world.create_topic([1], name="__consumer_offsets")
    asked = request((0, batch("a")), topic="__consumer_offsets")
    assert answers(answer(world, asked))[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    asked = request((0, batch("a")), topic="__consumer_offsets")
    assert answers(answer(world, asked, client="__admin_client"))[0].error_code == ErrorCode.NONE


def test_transactions_are_refused_while_there_are_none(world: World) -> None:
    world.create_topic([1])
    (data,) = answers(answer(world, request((0, batch("a")), transactional_id="x")))
    assert data.error_code == ErrorCode.NONE, "the batch is of no transaction"
    transactional = batch("a", producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    (data,) = answers(answer(world, request((0, transactional), transactional_id="x")))
    assert data.error_code == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    (data,) = answers(answer(world, request((0, transactional))))
    assert data.error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("records", "error"),
    [
        (b"", ErrorCode.INVALID_RECORD),
        (batch("a")[:16], ErrorCode.INVALID_RECORD),
        (batch("a")[:-1], ErrorCode.INVALID_RECORD),
        (batch("a") + batch("b"), ErrorCode.INVALID_RECORD),
        (batch("a") + batch("b")[:-1], ErrorCode.NONE),
        (batch("a") + b"x", ErrorCode.NONE),
        (batch("a")[:8] + (13).to_bytes(4) + batch("a")[12:], ErrorCode.CORRUPT_MESSAGE),
        (batch("a")[:8] + (20).to_bytes(4) + batch("a")[12:32], ErrorCode.CORRUPT_MESSAGE),
        (batch("a")[:16] + b"\3" + batch("a")[17:], ErrorCode.CORRUPT_MESSAGE),
        (batch("a")[:16] + b"\1" + batch("a")[17:], ErrorCode.INVALID_RECORD),
    ],
)
def test_exactly_one_batch_is_taken(world: World, records: bytes, error: ErrorCode) -> None:
    world.create_topic([1])
    (data,) = answers(answer(world, request((0, records))))
    assert data.error_code == error
    assert world[1].values() == (["a"] if error is ErrorCode.NONE else [])


def test_a_refusal_by_the_log_says_where_the_log_starts(world: World) -> None:
    world.create_topic([1])
    (data,) = answers(answer(world, request((0, batch("a", control=True)))))
    assert (data.error_code, data.log_start_offset) == (ErrorCode.INVALID_RECORD, 0)
    broken = batch("a")[:-1] + b"x"
    (data,) = answers(answer(world, request((0, broken))))
    assert (data.error_code, data.log_start_offset) == (ErrorCode.CORRUPT_MESSAGE, -1)


def test_a_repeated_idempotent_batch_is_answered_with_its_first_offset(world: World) -> None:
    world.create_topic([1])
    options = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
    (first,) = answers(answer(world, request((0, batch("a", **options)))))
    (again,) = answers(answer(world, request((0, batch("a", **options)))))
    assert (first.base_offset, again.base_offset, again.error_code) == (0, 0, ErrorCode.NONE)
    assert world[1].values() == ["a"]


# --- acks=0 -------------------------------------------------------------------------------------------------------


def test_acks_0_is_not_answered(world: World) -> None:
    world.create_topic([1])
    assert answer(world, request((0, batch("a")), acks=0)) is None
    assert world[1].values() == ["a"]


def test_a_failed_acks_0_closes_the_connection(world: World) -> None:
    with pytest.raises(ProtocolError, match="acks=0"):
        answer(world, request((0, batch("a")), acks=0))


# --- a flush policy -----------------------------------------------------------------------------------------------


def with_flush_policy(world: World, *indexes: int) -> None:
    for index in indexes:
        world[1].partition(index).log.update_config(LogConfig(flush_messages=1))


async def test_a_flush_policy_answers_when_the_records_are_on_the_device(world: World) -> None:
    world.create_topic([1])
    with_flush_policy(world, 0)
    for acks in (1, -1):
        asked = asyncio.ensure_future(answer(world, request((0, batch("a")), acks=acks)))
        await asyncio.sleep(0)
        assert not asked.done()
        world[1].logs.flush()
        (data,) = answers(await asyncio.wait_for(asked, 60))
        log = world[1].partition().log
        assert (data.error_code, data.base_offset) == (ErrorCode.NONE, log.recovery_point - 1)
    assert answer(world, request((0, batch("a")), acks=0)) is None, "nobody waits"
    world[1].logs.flush()
    assert log.recovery_point == log.log_end_offset == 3, "but it is flushed"


async def test_a_flush_that_fails_is_a_storage_error_of_its_partition(world: World) -> None:
    world.create_topic([1], partitions=2)
    with_flush_policy(world, 1)
    asked = asyncio.ensure_future(answer(world, request((0, batch("a")), (1, batch("b")))))
    await asyncio.sleep(0)
    world[1].logs.flush(error=OSError(5, "Input/output error"))
    fine, failed = answers(await asyncio.wait_for(asked, 60))
    assert (fine.error_code, fine.base_offset) == (ErrorCode.NONE, 0)
    assert (failed.error_code, failed.base_offset) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)
    assert failed.error_message is not None
    assert "Input/output" in failed.error_message


async def test_a_client_that_goes_while_its_records_are_flushed_leaves_nothing_behind(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1, 2])
    with_flush_policy(world, 0)
    asked = asyncio.ensure_future(answer(world, request((0, batch("a")), acks=-1)))
    await asyncio.sleep(0)
    assert len(purgatory) == 1
    asked.cancel()
    await asyncio.wait([asked])
    await asyncio.sleep(0)
    assert len(purgatory) == 0
    assert [flush.cancelled() for _, flush in world[1].logs.flushes] == [True]


# --- acks=all -----------------------------------------------------------------------------------------------------


def test_acks_all_with_a_lone_replica_is_answered_at_once(world: World) -> None:
    world.create_topic([1])
    assert answers(answer(world, request((0, batch("a")), acks=-1)))[0].base_offset == 0


async def waited(response: Any) -> list[ProduceResponse.Topic.Partition]:
    assert isinstance(response, Awaitable)
    return answers(await asyncio.wait_for(asyncio.ensure_future(response), 60))


async def test_acks_all_waits_for_the_followers(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1, 2], partitions=2)
    response = answer(world, request((0, batch("a")), (1, batch("b")), acks=-1))
    assert len(purgatory) == 1, "one waiter for the whole request"
    world[2].fetch(world[1], times=2)
    found = await waited(response)
    assert [(data.error_code, data.base_offset) for data in found] == [(0, 0), (0, 0)]
    assert len(purgatory) == 0


async def test_acks_all_gives_up_after_the_requests_timeout(world: World) -> None:
    purgatory = world[1].with_purgatory()
    world.create_topic([1, 2])
    response = answer(world, request((0, batch("a")), acks=-1, timeout_ms=500))
    world.clock.advance(ms=501)
    purgatory.expire()
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.REQUEST_TIMED_OUT
    assert data.base_offset == -1


async def test_acks_all_is_told_when_the_leader_is_deposed(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    response = answer(world, request((0, batch("a")), acks=-1))
    world.elect(2, [1, 2])
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_acks_all_is_told_when_the_isr_shrinks_below_the_minimum(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2], min_isr=2)
    response = answer(world, request((0, batch("a")), acks=-1))
    world.fence(2)
    world[1].partition().set_min_in_sync(1, 0.0)  # so that the high watermark may move at all
    world.change(isr=[1])
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.NONE
    world[1].partition().set_min_in_sync(2, 0.0)
    (data,) = answers(answer(world, request((0, batch("b")), acks=-1)))
    assert data.error_code == ErrorCode.NOT_ENOUGH_REPLICAS


async def test_acks_all_is_told_when_the_topic_is_deleted(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    response = answer(world, request((0, batch("a")), acks=-1))
    world.delete_topic()
    (data,) = await waited(response)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_a_repeated_batch_waits_for_the_commit_of_the_first(world: World) -> None:
    world[1].with_purgatory()
    world.create_topic([1, 2])
    options = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
    first = answer(world, request((0, batch("a", **options)), acks=-1))
    again = answer(world, request((0, batch("a", **options)), acks=-1))
    assert not asyncio.isfuture(again) or not again.done()
    world[2].fetch(world[1], times=2)
    assert [data.base_offset for data in await waited(first) + await waited(again)] == [0, 0]
