"""The ready file of a node that serves, and of one that does not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch.brokers import START_TIMEOUT_S, refused

CLEAN_SHUTDOWN = ".kafka_cleanshutdown"


def test_what_an_earlier_run_left_proves_nothing_of_one_that_does_not_start(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    for brokers in "1", "2":
        ready.write_text("{}")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            said = refused("--port", port, "--ready-file", str(ready), "--brokers", brokers)
        assert f"port {port} on 127.0.0.1 is in use" in said
        assert not ready.exists()


def test_a_ready_file_that_cannot_be_written_ends_the_node_cleanly(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path / "data"), "--ready-file", str(tmp_path / "missing" / "ready.json"))
    assert f"{tmp_path}/missing/ready.json" in said
    assert (tmp_path / "data" / "1" / CLEAN_SHUTDOWN).exists()


@pytest.mark.parametrize("stdout", ["nobody reads", "closed"])
def test_a_broker_whose_greeting_nobody_hears_serves_and_stops_cleanly(tmp_path: Path, stdout: str) -> None:
    ready, data = tmp_path / "ready.json", tmp_path / "data"
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "blumfeld", "up", "--port", "0", "--data", str(data), "--ready-file", str(ready)]
    closing = ["sh", "-c", 'exec "$@" >&-', "sh"] if stdout == "closed" else []
    with subprocess.Popen([*closing, *command], stdout=writer, stderr=subprocess.PIPE, text=True) as broker:
        os.close(writer)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            assert broker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        broker.terminate()
        assert broker.stderr is not None
        assert broker.stderr.read() == ""
    assert broker.returncode == 0
    assert (data / "1" / CLEAN_SHUTDOWN).exists()
