"""`kill -9` under load, again and again, on one data directory: what was acknowledged is there afterwards.

Two producers with requests in flight: one with acks=1 (nothing acknowledged is lost; it may double what it had to send
again), one idempotent with acks=all (nothing lost, doubled or out of order). A group commits all the while: its commits
are there after each restart, and it goes on.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from blumfeld.testing import Cluster

KILLS = int(os.environ.get("KILLS", "20"))
LOAD_S = 0.35
PARTITIONS = 2


class NumberedProducer(threading.Thread):
    """Sends 0, 1, 2, … to each partition in turn, and remembers which were acknowledged."""

    def __init__(self, servers: str, topic: str, settings: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._topic = topic
        self.acknowledged: list[int] = []
        self.failed: list[str] = []
        self._stop_sending = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "linger.ms": 1,
                "log_level": 0,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "message.timeout.ms": 120_000,
                **settings,
            }
        )

    def run(self) -> None:
        number = 0
        while not self._stop_sending.is_set():
            if self.under_way > 2000:
                self._producer.poll(0.01)
                continue
            for _ in range(20):
                self._producer.produce(
                    self._topic, str(number).encode(), partition=number % PARTITIONS, on_delivery=self._delivered
                )
                number += 1
            self._producer.poll(0.002)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged.append(int(message.value()))
        else:
            self.failed.append(str(error))

    @property
    def under_way(self) -> int:
        """How many records are sent or about to be, and not acknowledged."""
        return len(self._producer)

    def finish(self) -> None:
        """Send no more, and wait until everything sent is acknowledged."""
        self._stop_sending.set()
        self.join(60)
        assert self._producer.flush(60) == 0


class CommittingMember(threading.Thread):
    """A group member that commits what it has read."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.committed: dict[int, int] = {}
        self.commits = 0
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "log_level": 0,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 200,
            }
        )
        self._consumer.subscribe([topic])

    def run(self) -> None:
        while not self._ending.is_set():
            if not self._consumer.consume(500, timeout=0.1):
                continue
            try:
                for placed in self._consumer.commit(asynchronous=False):
                    if placed.error is None and placed.offset >= 0:
                        self.committed[placed.partition] = placed.offset
                        self.commits += 1
            except KafkaException:
                continue  # the broker is down: the next commit says the same again
        self._consumer.close()

    def finish(self) -> None:
        """Leave the group."""
        self._ending.set()
        self.join(60)


def _read(cluster: Cluster, topic: str) -> dict[int, list[int]]:
    read: dict[int, list[int]] = {p: [] for p in range(PARTITIONS)}
    for record in cluster.kafka.consume(topic):
        assert record.value is not None
        read[record.partition].append(int(record.value))
    return read


@pytest.mark.timeout(600)  # on a slow machine every start takes its time, and there are many
def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_under_load(tmp_path: Path) -> None:
    with Cluster(data=tmp_path / "data") as cluster:
        servers = cluster.bootstrap_servers
        plain, exact = cluster.kafka.topic(partitions=PARTITIONS), cluster.kafka.topic(partitions=PARTITIONS)
        producers = [
            NumberedProducer(servers, plain, {"acks": 1}),
            NumberedProducer(servers, exact, {"enable.idempotence": True, "acks": "all"}),
        ]
        member = CommittingMember(servers, "committing", exact)
        for thread in (*producers, member):
            thread.start()
        for _ in range(KILLS):
            acknowledged, commits = [len(p.acknowledged) for p in producers], member.commits
            _wait_until(lambda before=acknowledged: _all_beyond(producers, before), "acknowledgements go on")
            _wait_until(lambda before=commits: member.commits > before, "the group goes on")
            time.sleep(LOAD_S)
            _wait_until(lambda: all(p.under_way for p in producers), "requests are in flight")
            cluster.broker.kill()
            known = dict(member.committed)
            cluster.broker.restart()
            durable = {p: o for (t, p), o in cluster.kafka.committed("committing").items() if t == exact}
            assert all(durable.get(p, -1) >= offset for p, offset in known.items()), (known, durable)
        for producer in producers:
            producer.finish()
            assert not producer.failed, producer.failed[:5]
        ends = cluster.kafka.offsets(exact)
        _wait_until(lambda: all(member.committed.get(p, 0) == end for p, end in ends.items()), "the group went on")
        member.finish()

        survived = _read(cluster, plain)
        assert set(producers[0].acknowledged) <= {n for numbers in survived.values() for n in numbers}
        for partition, numbers in _read(cluster, exact).items():
            expected = sorted(n for n in producers[1].acknowledged if n % PARTITIONS == partition)
            assert numbers == expected, "lost, doubled or out of order"


def _all_beyond(producers: list[NumberedProducer], counts: list[int]) -> bool:
    return all(len(p.acknowledged) > count for p, count in zip(producers, counts, strict=True))


def _wait_until(condition: Any, what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.01)
