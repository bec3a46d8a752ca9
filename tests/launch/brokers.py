"""`blumfeld up` as a user starts it: to its end, where it fails, or until it serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blumfeld.launch.process import BrokerProcess
from blumfeld.testing.kafka import Kafka
from tests.launch.mounts import Mounts

START_TIMEOUT_S = 60.0
IMPATIENT_S = 2.0


def with_port(arguments: Sequence[str]) -> list[str]:
    """`up ARGUMENTS`, on a free port unless they name one; a directory that has its ports keeps them."""
    named = {"--port", "--plan"} & set(arguments) or any(a.startswith("listeners=") for a in arguments)
    return ["up", *arguments, *(() if named else ("--port", "0"))]


class MountedBroker(BrokerProcess):
    """A broker process among mounts of its own."""

    mounts: Mounts | None = None

    def command(self) -> list[str]:
        command = super().command()
        return command if self.mounts is None else self.mounts.command(command)


class Running:
    """A broker that serves, and what talks to it."""

    def __init__(self, process: BrokerProcess, kafka: Kafka) -> None:
        self.process = process
        self.kafka = kafka

    @property
    def said(self) -> str:
        return self.process.tail(200)

    def impatient(self) -> Kafka:
        """What gives up soon, for what is to be refused."""
        return Kafka(self.kafka.bootstrap_servers, timeout_s=IMPATIENT_S)


@contextmanager
def running(scratch: Path, *arguments: str, mounts: Mounts | None = None, timeout_s: float = 30.0) -> Iterator[Running]:
    """`blumfeld up ARGUMENTS`, stopped at the end; its output is in `scratch/log`."""
    process = MountedBroker(
        with_port(arguments), ready_file=str(scratch / "ready"), log_file=str(scratch / "log"), on_line=None
    )
    process.mounts = mounts
    process.start()
    try:
        ready = process.wait_ready(START_TIMEOUT_S)
        with Kafka(ready.bootstrap_servers, timeout_s=timeout_s) as kafka:
            yield Running(process, kafka)
    finally:
        process.stop()


def refused(*arguments: str, mounts: Mounts | None = None, exit_code: int = 1) -> str:
    """What `blumfeld up ARGUMENTS` says where it does not start; no traceback is among it."""
    command = [sys.executable, "-m", "blumfeld", *with_port(arguments)]
    done = subprocess.run(
        command if mounts is None else mounts.command(command),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == exit_code, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("Error: "), said
    return said


def contents(directory: Path, leave_out: Sequence[str] = (".lock",)) -> dict[str, bytes]:
    """Every file below a directory, to see that nothing changed."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in leave_out
    }
