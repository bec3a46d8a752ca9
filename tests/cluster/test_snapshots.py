"""When the metadata log gets a snapshot, and what is in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import pytest

from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.raft.listener import CommittedBatch, LeaderAndEpoch, OffsetAndEpoch
from blumfeld.cluster.snapshots import Snapshots
from blumfeld.protocol.messages.metadata_log import (
    BeginTransactionRecord,
    EndTransactionRecord,
    TopicRecord,
    decode_metadata_record,
    encode_metadata_record,
)
from blumfeld.protocol.schema import Record
from tests.cluster.controller.story import uuid


class Writer:
    """A raft replica that is told to write snapshots."""

    def __init__(self) -> None:
        self.snapshot_due = False
        self.written: list[tuple[OffsetAndEpoch, int, list[bytes]]] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.error: OSError | None = None

    async def write_snapshot(
        self, snapshot_id: OffsetAndEpoch, last_contained_log_timestamp: int, records: Iterable[bytes]
    ) -> bool:
        await self.may_finish.wait()
        if self.error is not None:
            raise self.error
        self.written.append((snapshot_id, last_contained_log_timestamp, list(records)))
        return True


class Story:
    def __init__(self) -> None:
        self.writer = Writer()
        self.loader = MetadataLoader(lambda what: None)
        self.snapshots = Snapshots(self.writer, self.loader)
        self.offset = 0

    def commit(self, *records: Record, at_ms: int = 5) -> None:
        values = [encode_metadata_record(record, 0) for record in records]
        last = self.offset + len(values) - 1
        batch = CommittedBatch(self.offset, last, 3, at_ms, values, 100)
        self.offset = last + 1
        for listener in (self.loader, self.snapshots):
            listener.on_commit([batch])

    def topic(self, number: int, at_ms: int = 5) -> None:
        self.commit(TopicRecord(name=f"topic-{number}", topic_id=uuid(number)), at_ms=at_ms)


async def test_a_snapshot_is_the_image_at_the_end_of_a_batch() -> None:
    story = Story()
    story.topic(1)
    story.writer.snapshot_due = True
    story.topic(2, at_ms=77)
    await story.snapshots.stop()
    [(snapshot_id, timestamp, records)] = story.writer.written
    assert (snapshot_id, timestamp) == (OffsetAndEpoch(2, 3), 77)
    delta = MetadataDelta().replay_all(map(decode_metadata_record, records))
    assert delta.apply(1, 3) == story.loader.image


async def test_one_is_written_at_a_time_and_none_while_nothing_is_due() -> None:
    story = Story()
    story.topic(1)
    story.writer.snapshot_due = True
    story.writer.may_finish.clear()
    story.topic(2)
    story.topic(3)
    story.writer.may_finish.set()
    await story.snapshots.stop()
    assert [snapshot_id.offset for snapshot_id, _, _ in story.writer.written] == [2]
    story.topic(4)
    await story.snapshots.stop()
    assert [snapshot_id.offset for snapshot_id, _, _ in story.writer.written] == [2, 4]


async def test_none_is_written_within_a_metadata_transaction() -> None:
    story = Story()
    story.topic(1)
    story.writer.snapshot_due = True
    story.commit(BeginTransactionRecord())
    story.topic(2)
    await story.snapshots.stop()
    assert story.writer.written == []
    story.commit(EndTransactionRecord())
    await story.snapshots.stop()
    assert [snapshot_id.offset for snapshot_id, _, _ in story.writer.written] == [4]


async def test_a_disk_that_fails_costs_the_snapshot_only(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    story.writer.snapshot_due = True
    story.writer.error = OSError(28, "no space")
    with caplog.at_level(logging.ERROR):
        story.topic(1)
        await story.snapshots.stop()
    story.writer.error = None
    story.topic(2)
    story.snapshots.on_leader_change(LeaderAndEpoch(1, 4))
    await story.snapshots.stop()
    assert len(story.writer.written) == 1
