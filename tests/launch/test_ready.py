"""The ready file of a node that serves, and of one that does not."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.launch.brokers import refused

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
