"""Apache Kafka's cleaner and ours over the same logs: the same batches are left, byte for byte in all that they say."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blumfeld.env.clock import ManualClock, SystemClock
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.records import read_records
from blumfeld.storage.compaction import assess
from tests.storage.history import History
from tests.storage.kafka_logs import KafkaLogs, dump, files_of

pytestmark = pytest.mark.java

RETENTION_MS = 3_600_000
ROUNDS = 3


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaLogs]:
    process = KafkaLogs()
    yield process
    process.close()


class Pair:
    """Two copies of one log: ours is cleaned by us, theirs by Apache Kafka."""

    def __init__(self, root: Path, kafka: KafkaLogs, rng: random.Random) -> None:
        self.ours, self.theirs = root / "ours" / "t-0", root / "theirs" / "t-0"
        self.ours.parent.mkdir()
        self._kafka = kafka
        self._rng = rng
        self.clock = ManualClock(SystemClock().time_ms())  # Kafka's log asks the system which producers are alive
        self.history = History(
            disk=RealDisk(),
            directory=str(self.ours),
            clock=self.clock,
            segment_bytes=5_000,
            index_interval_bytes=500,
            segment_index_bytes=1_000,
            delete_retention_ms=RETENTION_MS,
        )
        self._transactions: set[int] = set()
        self.first_dirty = 0

    def live(self, steps: int) -> None:
        """Plain and idempotent producers, transactions that commit and abort, tombstones, every codec."""
        rng, history = self._rng, self.history
        for _ in range(steps):
            producer = rng.choice([-1, -1, 1, 2, 3, 4])
            if producer in self._transactions and rng.random() < 0.4:
                history.end(producer, commit=rng.random() < 0.6, bump=rng.random() < 0.3)
                self._transactions.remove(producer)
                continue
            records = [self._record() for _ in range(rng.randrange(1, 6))]
            transactional = producer > 1
            history.write(*records, producer_id=producer, transactional=transactional, codec=rng.choice(list(Codec)))
            if transactional:
                self._transactions.add(producer)
            self.clock.advance(ms=rng.randrange(20))

    def _record(self) -> tuple[bytes, bytes | None]:
        rng = self._rng
        key = b"key-%d" % min(rng.randrange(10), rng.randrange(60))
        return key, None if rng.random() < 0.2 else rng.randbytes(rng.randrange(200))

    def settle(self) -> None:
        """All transactions end, and what was written so far can be cleaned."""
        for producer in sorted(self._transactions):
            self.history.end(producer, commit=True)
        self._transactions.clear()
        self.history.roll()

    def clean(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """One round in each copy; (our batches, theirs)."""
        log = self.history.log
        due = assess(log, self.first_dirty, self.clock.time_ms())
        assert due is not None
        self.history.reopen()
        shutil.rmtree(self.theirs, ignore_errors=True)
        shutil.copytree(self.ours, self.theirs)
        result = self.history.compact(first_dirty=self.first_dirty)
        assert result is not None
        answer = self._kafka.ask("clean", self.theirs, self.first_dirty, due.upper, self.clock.time_ms(), RETENTION_MS)
        assert answer["end"] == result.end
        self.first_dirty = result.end
        return [as_told(batch) for batch in self.history.batches()], answer["batches"]

    def assert_empty_ones(self, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
        """Theirs are in ours, and ours beyond that end a segment: between two of our segments is no gap."""
        kept = [batch for batch in theirs if not batch["records"]]
        ends = {segment.base_offset for segment in self.history.log.segments}
        for batch in ours:
            if not batch["records"] and batch not in kept:
                assert batch["last"] + 1 in ends
        assert [batch for batch in kept if batch not in ours] == []


def with_records(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [batch for batch in batches if batch["records"]]


def as_told(batch: RecordBatch) -> dict[str, Any]:
    """A batch as the Java program tells it."""
    records = [
        [
            r.offset,
            r.timestamp,
            r.key.hex() if r.key is not None else None,
            r.value.hex() if r.value is not None else None,
        ]
        for r in read_records(batch)
    ]
    return {
        "base": batch.base_offset,
        "last": batch.last_offset,
        "control": batch.is_control,
        "transactional": batch.is_transactional,
        "producer": batch.producer_id,
        "epoch": batch.producer_epoch,
        "sequence": batch.base_sequence,
        "codec": int(batch.codec),
        "leader_epoch": batch.leader_epoch,
        "max_timestamp": batch.max_timestamp,
        "horizon": -1 if batch.delete_horizon is None else batch.delete_horizon,
        "records": records,
    }


@pytest.mark.parametrize("seed", range(10))
def test_both_cleaners_leave_the_same_batches(kafka: KafkaLogs, tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, kafka, random.Random(seed))
    for number in range(ROUNDS):
        pair.live(120)
        if number == ROUNDS - 1:
            pair.settle()
        ours, theirs = pair.clean()
        assert with_records(ours) == with_records(theirs)
        pair.assert_empty_ones(ours, theirs)
        pair.clock.advance(ms=RETENTION_MS + 1)
    pair.history.log.close()
    dump(*files_of(pair.ours), has_gaps=True)
