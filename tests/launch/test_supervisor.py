"""`blumfeld up --brokers 3` as a user sees it: one log, brokers that are killed and started again, a clean end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blumfeld.launch.process import BrokerProcess
from blumfeld.launch.ready import Ready
from blumfeld.testing import Kafka
from tests.cluster_e2e.story import wait_until

READY_S = 60.0


@contextmanager
def supervised(home: Path, *arguments: str) -> Iterator[tuple[BrokerProcess, Ready]]:
    process = BrokerProcess(
        ["up", "--brokers", "3", "--data", str(home / "data"), "--port", "0", *arguments],
        ready_file=str(home / "ready"),
        log_file=str(home / "log"),
    )
    process.start()
    try:
        yield process, process.wait_ready(READY_S)
    finally:
        process.stop()


def starts(home: Path, node: int) -> int:
    """How often that node said that it serves."""
    said = (home / "log").read_text()
    return len(re.findall(rf"^node {node} \| blumfeld \S+  node {node}  ready", said, re.MULTILINE))


def in_sync(kafka: Kafka, topic: str) -> list[int]:
    return sorted(kafka.isr(topic))


def test_a_broker_that_was_killed_is_started_by_hand_and_the_others_go_on(tmp_path: Path) -> None:
    with supervised(tmp_path) as (process, ready), Kafka(ready.bootstrap_servers, timeout_s=READY_S) as kafka:
        topic = kafka.topic(partitions=1)
        kafka.produce(topic, b"before")
        wait_until(lambda: [starts(tmp_path, node) for node in (1, 2, 3)] == [1, 1, 1], "all have said so", READY_S)
        os.kill(ready.brokers[1].pid, signal.SIGKILL)
        wait_until(lambda: in_sync(kafka, topic) == [1, 3], "the killed broker is out of sync", READY_S)
        kafka.produce(topic, b"without it")
        again = subprocess.Popen(
            [sys.executable, "-m", "blumfeld", "up", "--data", str(tmp_path / "data"), "--node", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: in_sync(kafka, topic) == [1, 2, 3], "it is back", READY_S)
        finally:
            again.terminate()
        assert again.wait(READY_S) == 0
        assert [record.value for record in kafka.consume(topic)] == [b"before", b"without it"]
        wait_until(lambda: "node 2 | ended with -9" in (tmp_path / "log").read_text(), "its end was said", READY_S)
        assert process.stop() == 0


def test_a_broker_that_was_killed_is_started_again_where_that_was_asked_for(tmp_path: Path) -> None:
    with (
        supervised(tmp_path, "--restart") as (process, ready),
        Kafka(ready.bootstrap_servers, timeout_s=READY_S) as kafka,
    ):
        topic = kafka.topic(partitions=1)
        os.kill(ready.brokers[2].pid, signal.SIGKILL)
        wait_until(lambda: starts(tmp_path, 3) == 2, "it serves again", READY_S)
        wait_until(lambda: in_sync(kafka, topic) == [1, 2, 3], "it is in sync", READY_S)
        assert process.stop() == 0
    assert [starts(tmp_path, node) for node in (1, 2, 3)] == [1, 1, 2]
