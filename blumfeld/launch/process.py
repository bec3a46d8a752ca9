"""A `blumfeld` process of its own, seen from the one that started it: start, readiness, signals, output.

Used by the supervisor of `up --brokers N` and by the test fixture. The child ends by itself when this process dies,
however it dies: its standard input is a pipe that nobody else holds (`--stop-with-stdin`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from blumfeld.launch.ready import Ready

POLL_S = 0.005
LAST_WORDS_S = 1.0
"""How long output of a child that ended may still be on its way to the log file."""
LOG_TAIL_LINES = 30


class StartFailed(RuntimeError):
    """A broker process ended, or did not become ready in time. The message carries the end of its log."""


class BrokerProcess:
    """One child process that runs `blumfeld up …` and reports readiness by file."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        ready_file: str,
        log_file: str,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """`on_line` is called with every line of output, in a thread; the log file gets them in any case."""
        self._arguments = tuple(arguments)
        self._on_line = on_line
        self._ready_file = ready_file
        self.log_file = log_file
        self._child: subprocess.Popen[bytes] | None = None
        self._copier: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process id of the child that runs, or ran last."""
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return None if self._child is None else self._child.poll()

    def command(self) -> list[str]:
        """What is run."""
        own = ("--ready-file", self._ready_file, "--stop-with-stdin")
        return [sys.executable, "-m", "blumfeld", *self._arguments, *own]

    def start(self) -> None:
        """Start the child; its output goes to the log file."""
        assert not self.is_running
        self.wait(0.0)  # gives back what one before it left
        Ready.withdraw(self._ready_file)
        with open(self.log_file, "ab") as log:
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and module
                self.command(),
                stdin=subprocess.PIPE,
                stdout=log if self._on_line is None else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._on_line is not None:
            self._copier = threading.Thread(target=self._copy_output, args=(self._child, self._on_line), daemon=True)
            self._copier.start()

    def _copy_output(self, child: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
        assert child.stdout is not None
        with open(self.log_file, "ab") as log, child.stdout:
            for line in child.stdout:
                log.write(line)
                log.flush()
                on_line(line.decode("utf-8", "replace").rstrip("\n"))

    def poll_ready(self) -> Ready | None:
        """What the ready file says once it is there. Raises StartFailed where the child ended before."""
        ready = Ready.read(self._ready_file)
        if ready is None and not self.is_running:
            if self._copier is not None:
                self._copier.join(LAST_WORDS_S)
            raise StartFailed(f"blumfeld {' '.join(self._arguments)} ended with {self.exit_code}:\n{self.tail()}")
        return ready

    def wait_ready(self, timeout_s: float) -> Ready:
        """Wait for readiness. Raises StartFailed."""
        deadline = time.monotonic() + timeout_s
        while (ready := self.poll_ready()) is None:
            if time.monotonic() > deadline:
                raise StartFailed(f"not ready after {timeout_s:.0f} s:\n{self.tail()}")
            time.sleep(POLL_S)
        return ready

    def signal(self, number: int) -> None:
        """Send a signal to the child if it runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop cleanly (SIGTERM), or by force after `timeout_s`. Returns the exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(10.0)

    def wait(self, timeout_s: float) -> int:
        """Wait for the end, forcing it after `timeout_s`. Returns the exit code."""
        if self._child is None:
            return 0
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()
        return code

    def tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The end of the child's output."""
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as log:
                return "".join(log.readlines()[-lines:]).rstrip("\n")
        except FileNotFoundError:
            return ""
