"""A shard's log on a real replica: cold reads, flushes, a replica that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from blumfeld.cluster.partition import Partition
from blumfeld.coordinator.groups import OFFSETS_TOPIC
from blumfeld.coordinator.replica_log import ReplicaLog
from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.results import ReadResult
from tests.coordinator.brokers import Brokers

Make = Callable[..., Brokers]
BATCH = build_batch([Record(0, 0, b"key", b"value")])


def log_of(brokers: Brokers) -> ReplicaLog:
    return ReplicaLog(brokers.world[1].replicas, brokers.world[1].partition(0, OFFSETS_TOPIC), brokers.world.clock)


async def test_what_was_appended_is_read(make_brokers: Make) -> None:
    log = log_of(make_brokers())
    assert log.append(BATCH, 7) == (ErrorCode.NONE, 0)
    log.settle()
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (0, 1, 1)
    assert RecordBatch(await log.read(0, 1_000)).record_count == 1
    assert len(await log.read(1, 1_000)) == 0
    with pytest.raises(OSError, match="OFFSET_OUT_OF_RANGE"):
        await log.read(5, 1_000)


async def test_a_read_that_would_block_happens_in_a_thread(make_brokers: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = make_brokers()
    log = log_of(brokers)
    log.append(BATCH, 7)
    partition = brokers.world[1].partition(0, OFFSETS_TOPIC)
    warm = partition.log.read(0, 1_000)
    threads = []

    def cold() -> ReadResult:
        threads.append(threading.current_thread())
        return warm

    monkeypatch.setattr(Log, "read", lambda *_: ReadResult(cold=cold))  # nothing is cold in memory
    assert bytes(await log.read(0, 1_000)) == bytes(warm.records)
    assert threads != [threading.main_thread()]


async def test_a_topic_that_is_flushed_with_each_message_is(
    make_brokers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Partition.append_as_leader
    flushed: list[int] = []

    def append_and_ask_for_flush(*args: Any, **kwargs: Any) -> Any:
        result = append(*args, **kwargs)
        result.must_flush = True
        return result

    monkeypatch.setattr(Partition, "append_as_leader", append_and_ask_for_flush)  # as flush.messages=1 does
    monkeypatch.setattr(Log, "flush", lambda _, up_to: flushed.append(up_to))
    assert log_of(make_brokers()).append(BATCH, 7).error is ErrorCode.NONE
    assert flushed == [1]


async def test_a_flush_that_fails_is_a_refusal(make_brokers: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(log: Log, up_to: int) -> int:
        raise OSError(5, "Input/output error")

    brokers = make_brokers()
    partition = brokers.world[1].partition(0, OFFSETS_TOPIC)
    partition.log.update_config(LogConfig(flush_messages=1))
    monkeypatch.setattr(Log, "flush", fail)
    assert log_of(brokers).append(BATCH, 7).error is ErrorCode.KAFKA_STORAGE_ERROR


async def test_a_replica_that_is_gone(make_brokers: Make) -> None:
    brokers = make_brokers()
    log = log_of(brokers)
    log.watch(lambda: None)
    brokers.world.delete_topic(OFFSETS_TOPIC)
    assert log.append(BATCH, 7).error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    log.settle()
    with pytest.raises(OSError, match="gone"):
        await log.read(0, 1_000)
    log.close()
