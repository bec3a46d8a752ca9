"""Commands as a user calls them: without a terminal, and in one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
from blumfeld.testing import Cluster
from tests.raw import Raw

PATIENCE_S = 60.0


def environment(bootstrap: str | None = None, **more: str) -> dict[str, str]:
    return {**os.environ, **({"KAFKA_BOOTSTRAP_SERVERS": bootstrap} if bootstrap else {}), **more}


def blumfeld(
    *arguments: str, stdin: str | None = None, bootstrap: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blumfeld", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(bootstrap, **more),
        check=False,
    )


class Shell:
    """Commands that must succeed, against one broker."""

    def __init__(self, cluster: Cluster) -> None:
        self.servers = cluster.bootstrap_servers

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = blumfeld(*arguments, stdin=stdin, bootstrap=self.servers)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def fails(self, *arguments: str) -> str:
        """What a command says that can't do what it is told."""
        done = blumfeld(*arguments, bootstrap=self.servers)
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr


def commit(cluster: str, group: str, topic: str, offset: int) -> None:
    """Commit an offset of partition 0 from outside the group."""
    partition = OffsetCommitRequest.Topic.Partition(partition_index=0, committed_offset=offset, committed_metadata="")
    topics = [OffsetCommitRequest.Topic(name=topic, partitions=[partition])]
    deadline = time.monotonic() + PATIENCE_S
    with Raw(cluster) as raw:
        raw.ask(FindCoordinatorRequest(key=group), 1)  # makes the offsets topic
        while True:
            answer = raw.ask(OffsetCommitRequest(group_id=group, member_id="", topics=topics), 8)
            if answer.topics[0].partitions[0].error_code == ErrorCode.NONE:
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)


class Terminal:
    """A process whose standard streams are a terminal, 100 columns wide, that it owns; those given are not."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None, **streams: Any) -> None:
        import fcntl
        import struct
        import termios

        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))

        def own() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        on_terminal: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave, **streams}
        environ = {**(env or environment()), "TERM": "xterm"}
        self.process = subprocess.Popen(command, env=environ, preexec_fn=own, **on_terminal)
        os.close(slave)
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and the like."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen.decode(errors="replace")).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, condition: Callable[[], bool]) -> None:
        """Read what is shown until `condition` holds."""
        deadline = time.monotonic() + PATIENCE_S
        os.set_blocking(self._master, False)
        while not condition():
            assert time.monotonic() < deadline, self.text
            with suppress(OSError):  # nothing there, or nobody writes any more
                self._seen += os.read(self._master, 1 << 16)
            time.sleep(0.01)

    def ends(self) -> int:
        """The exit code, once it has ended and all that it wrote was read."""
        self.until(lambda: self.process.poll() is not None)
        with suppress(OSError):
            while data := os.read(self._master, 1 << 16):
                self._seen += data
        return self.process.returncode


def in_terminal(*arguments: str, bootstrap: str | None = None, **streams: Any) -> Terminal:
    return Terminal([sys.executable, "-m", "blumfeld", *arguments], environment(bootstrap), **streams)
