"""From committed batches to published images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import MetadataImage
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.raft.listener import CommittedBatch, OffsetAndEpoch
from blumfeld.protocol.messages.metadata_log import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    TopicRecord,
    encode_metadata_record,
)
from blumfeld.protocol.schema import Record


class Stage:
    """A loader with a publisher that remembers, and a log that only grows."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.loader = MetadataLoader(self.faults.append)
        self.published: list[tuple[MetadataDelta, MetadataImage]] = []
        self.loader.publish_to(lambda delta, image: self.published.append((delta, image)))
        self._next = 0

    def batch(self, *records: Record) -> CommittedBatch:
        base = self._next
        self._next += max(len(records), 1)
        framed = [encode_metadata_record(record, 0) for record in records]
        return CommittedBatch(base, self._next - 1, 1, 0, framed, sum(map(len, framed)))

    def commit(self, *records: Record) -> None:
        self.loader.on_commit([self.batch(*records)])

    @property
    def topics(self) -> set[str]:
        return set(self.loader.image.topics.by_name)


def topic(name: str) -> TopicRecord:
    return TopicRecord(name=name, topic_id=name.encode().ljust(16, b"."))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_each_commit_is_published_once_with_the_offset_of_its_last_record(stage: Stage) -> None:
    stage.loader.on_commit([stage.batch(topic("a"), topic("b")), stage.batch(topic("c"))])
    assert stage.topics == {"a", "b", "c"}
    assert [image.offset for _, image in stage.published] == [2]
    assert stage.published[0][0].image.offset == -1


def test_a_batch_without_records_moves_the_offset(stage: Stage) -> None:
    stage.commit()
    assert stage.loader.image.offset == 0


def test_a_metadata_transaction_is_published_at_its_end(stage: Stage) -> None:
    stage.commit(BeginTransactionRecord(), topic("a"))
    stage.commit(topic("b"))
    assert stage.topics == set()
    assert not stage.published
    stage.commit(EndTransactionRecord())
    assert stage.topics == {"a", "b"}
    assert len(stage.published) == 1


def test_an_aborted_metadata_transaction_never_was(stage: Stage) -> None:
    stage.commit(BeginTransactionRecord(), topic("a"))
    stage.commit(AbortTransactionRecord(reason="changed its mind"))
    stage.commit(topic("b"))
    assert stage.topics == {"b"}


def test_a_record_that_cannot_be_replayed_stops_the_node(stage: Stage) -> None:
    stage.loader.on_commit([CommittedBatch(0, 0, 1, 0, [b"\x01\xff\xff\x03\x00"], 5)])
    assert "offset 0" in stage.faults[0]
    stage.commit(topic("a"))
    assert not stage.published


def test_a_publisher_that_comes_late_is_told_everything_first(stage: Stage) -> None:
    stage.commit(topic("a"))
    late: list[MetadataDelta] = []
    stage.loader.publish_to(lambda delta, image: late.append(delta))
    assert late[0].topics is not None
    assert len(late[0].topics.changed) == 1


def test_a_snapshot_replaces_what_was_there(stage: Stage) -> None:
    class Snapshot:
        id = OffsetAndEpoch(50, 3)
        last_contained_log_timestamp = 0

        def batches(self) -> Iterator[Sequence[bytes]]:
            yield [encode_metadata_record(FeatureLevelRecord(name="metadata.version", feature_level=25), 0)]
            yield [encode_metadata_record(topic("new"), 0)]

    stage.commit(topic("old"))
    stage.loader.on_load_snapshot(Snapshot())
    assert stage.topics == {"new"}
    delta, image = stage.published[-1]
    assert (image.offset, image.epoch) == (49, 3)
    assert delta.topics is not None
    assert len(delta.topics.deleted) == 1
    assert len(delta.topics.changed) == 1


@pytest.mark.parametrize(("name", "level"), [("metadata.version", 26), ("transaction.version", 2)])
def test_a_level_that_we_do_not_know_stops_the_node_and_says_how_to_lower_it(
    stage: Stage, name: str, level: int
) -> None:
    stage.loader = MetadataLoader(stage.faults.append, SUPPORTED_FEATURES)
    stage.commit(FeatureLevelRecord(name="metadata.version", feature_level=25))
    stage.commit(FeatureLevelRecord(name="transaction.version", feature_level=0))
    assert stage.faults == []
    stage.commit(FeatureLevelRecord(name=name, feature_level=level))
    assert len(stage.faults) == 1
    assert f"{name} at level {level}" in stage.faults[0]
    assert "kafka-features.sh downgrade" in stage.faults[0]
