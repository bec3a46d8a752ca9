"""`blumfeld up --brokers 3` as a user sees it: one log, brokers that are killed and started again, a clean end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blumfeld.launch import supervisor as launch
from blumfeld.launch.plan import PLAN_FILE, Plan
from blumfeld.launch.process import BrokerProcess, StartFailed
from blumfeld.launch.ready import Ready
from blumfeld.launch.supervisor import Supervisor
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


# Children that do as the test says.

NEVER_READY = "import sys; sys.stdin.read()"
ENDS = "import sys; print('no reason'); sys.exit(3)"
READY = {"cluster_id": "c", "brokers": [{"id": 1, "pid": 2, "host": "here", "port": 3}]}
READY_AND_ENDS = f"""
import sys, time
open(sys.argv[-2] + ".part", "w").write({json.dumps(READY)!r})
__import__("os").replace(sys.argv[-2] + ".part", sys.argv[-2])
time.sleep(0.3)
sys.exit(70)
"""


TALKS = f"""
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
open(sys.argv[-2] + ".part", "w").write({json.dumps(READY)!r})
__import__("os").replace(sys.argv[-2] + ".part", sys.argv[-2])
for number in range(1000):
    print("line", number, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def supervisor(home: Path, monkeypatch: pytest.MonkeyPatch, *programs: str, python: str = sys.executable) -> Supervisor:
    """A supervisor whose children run these programs, the last one by that interpreter."""

    def command(self: BrokerProcess) -> list[str]:
        node_id = int(self._arguments[-1])
        interpreter = python if node_id == len(programs) else sys.executable
        return [interpreter, "-c", programs[node_id - 1], self._ready_file, "--stop-with-stdin"]

    monkeypatch.setattr(BrokerProcess, "command", command)
    return Supervisor(Plan.make(brokers=len(programs)), str(home / PLAN_FILE), str(home))


def assert_none_runs(supervisor: Supervisor) -> None:
    assert not any(child.is_running for child in supervisor._children.values())


@pytest.mark.usefixtures("signals")
def test_one_that_ends_before_it_is_ready_ends_the_start_whoever_else_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = supervisor(tmp_path, monkeypatch, NEVER_READY, ENDS)
    with pytest.raises(StartFailed, match=r"--node 2 ended with 3:\nno reason"):
        all_of_them.start()
    assert_none_runs(all_of_them)


class Unread(io.StringIO):
    """Output whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.usefixtures("signals")
def test_output_that_nobody_reads_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = supervisor(tmp_path, monkeypatch, READY_AND_ENDS, TALKS)
    monkeypatch.setattr(sys, "stderr", Unread())
    assert all_of_them.start() is not None
    wait_until(lambda: "line 999" in (tmp_path / "2.log").read_text(), "all lines are in the log", READY_S)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    all_of_them.watch()  # the first one ends meanwhile
    assert all_of_them.stop() == 0


@pytest.mark.usefixtures("signals")
def test_a_stop_is_heard_before_all_are_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = supervisor(tmp_path, monkeypatch, NEVER_READY, NEVER_READY)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert all_of_them.start() is None
    timer.join()
    assert_none_runs(all_of_them)


@pytest.mark.usefixtures("signals")
def test_one_that_is_never_ready_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "START_TIMEOUT_S", 0.3)
    all_of_them = supervisor(tmp_path, monkeypatch, READY_AND_ENDS, NEVER_READY)
    with pytest.raises(StartFailed, match="node 2 is not ready after"):
        all_of_them.start()
    assert_none_runs(all_of_them)


@pytest.mark.usefixtures("signals")
def test_one_that_cannot_even_be_started_leaves_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = supervisor(tmp_path, monkeypatch, NEVER_READY, NEVER_READY, python="/there/is/none")
    with pytest.raises(FileNotFoundError):
        all_of_them.start()
    assert_none_runs(all_of_them)


@pytest.mark.usefixtures("signals")
def test_where_all_ended_by_themselves_the_end_is_not_a_clean_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = supervisor(tmp_path, monkeypatch, READY_AND_ENDS, READY_AND_ENDS)
    assert all_of_them.start() is not None
    all_of_them.watch()
    assert all_of_them.stop() == 70


def test_a_busy_port_of_one_is_said_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    plan = Plan.make(brokers=2, data=str(data))
    plan.save(str(data / PLAN_FILE))
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", plan.nodes[1].port)):
        done = subprocess.run(
            [sys.executable, "-m", "blumfeld", "up", "--data", str(data)],
            capture_output=True,
            text=True,
            timeout=2 * READY_S,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {plan.nodes[1].port} on 127.0.0.1 is in use" in done.stderr.rpartition("Error: blumfeld up")[2]
    assert time.monotonic() - began < READY_S / 2
