"""A group member that a thread of its own polls: the part that is the same for every synchronous client."""

from __future__ import annotations

import threading
from abc import abstractmethod

from tests.interop.clients.face import PATIENCE_S, Got, Member


class PollingMember(Member):
    """Subclasses poll and commit with their client; all calls to the client happen in the one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Got] = []
        self._assignment: frozenset[tuple[str, int]] = frozenset()
        self._ending = False
        self._commit: str | None = None
        self._committed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def poll(self) -> tuple[list[Got], frozenset[tuple[str, int]]]:
        """Poll for at most 50 ms: records, and the assignment as it is now."""

    @abstractmethod
    def commit_now(self, *, wait: bool) -> None: ...

    @abstractmethod
    def leave(self) -> None: ...

    def _run(self) -> None:
        try:
            self.open()
            while not self._ending:
                got, assignment = self.poll()
                with self._lock:
                    self._received += got
                    self._assignment = assignment
                if self._commit is not None:
                    self.commit_now(wait=self._commit == "sync")
                    self._commit = None
                    self._committed.set()
            self.leave()
        except BaseException as error:
            self._failure = error
            self._committed.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise AssertionError(f"the member failed: {self._failure!r}") from self._failure

    def assignment(self) -> frozenset[tuple[str, int]]:
        self._check()
        with self._lock:
            return self._assignment

    def received(self) -> list[Got]:
        self._check()
        with self._lock:
            return list(self._received)

    def commit(self, *, wait: bool) -> None:
        self._committed.clear()
        self._commit = "sync" if wait else "async"
        assert self._committed.wait(PATIENCE_S), "commit was not done"
        self._check()

    def close(self) -> None:
        self._ending = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the member does not end"
        self._check()
