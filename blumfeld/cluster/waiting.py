"""The only purgatory: requests that cannot be answered yet wait here.

Owns who waits for what, and until when: long-polling fetches, acks=all produces, whatever else must wait for the log
or the cluster to move. One heap of deadlines and one timer serve all waiters; an idle purgatory costs nothing.

Must never know what a waiter waits for: it knows keys (any hashable) and an *attempt*, a function that tries to
answer. An attempt must not raise; where one does, its request alone fails.

Invariants
- A waiter is answered exactly once: by the first attempt that returns an answer, by its deadline, or by cancellation.
- At the deadline the attempt is called with `EXPIRED` and must answer with what there is.
- A waiter that is answered or cancelled is under no key any more; the heap of deadlines holds at most as many dead
  entries as living ones (and a few).
- The timer is set whenever somebody waits, and never later than the earliest deadline.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock

Answer = TypeVar("Answer")


class _Expired:
    """The type of `EXPIRED`, so that it prints well."""

    def __repr__(self) -> str:
        return "EXPIRED"


EXPIRED: Final = _Expired()
"""What an attempt is called with, instead of a key, when the waiter's time is up."""

Attempt = Callable[[Hashable], Answer | None]
"""Called with the key that moved; returns the answer, or None to wait on. `EXPIRED` must be answered."""

_FEW: Final = 64
"""Dead entries that the heap may hold before anybody looks."""


class Waiter(Generic[Answer]):
    """One request that waits: its future, its keys, its attempt."""

    __slots__ = ("attempt", "deadline", "future", "keys")

    def __init__(self, future: asyncio.Future[Answer], keys: tuple[Hashable, ...], attempt: Attempt[Answer]) -> None:
        self.future = future
        self.keys = keys
        self.attempt = attempt
        self.deadline = 0.0


class Purgatory:
    """Waiters by key, with one timer for all deadlines.

    Args:
        clock: monotonic seconds; deadlines are measured by it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: dict[Hashable, dict[Waiter[Any], None]] = {}
        self._deadlines: list[tuple[float, int, Waiter[Any]]] = []
        self._sequence = 0
        self._living = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = 0.0

    def __len__(self) -> int:
        """How many waiters there are."""
        return self._living

    def wait(self, keys: Iterable[Hashable], timeout_ms: float, attempt: Attempt[Answer]) -> asyncio.Future[Answer]:
        """Register a waiter; the future completes with the attempt's first answer.

        The attempt is *not* called now: the caller has just tried. Cancelling the future forgets the waiter.

        Args:
            keys: what may move the waiter on; `check(key)` calls the attempt with that key.
            timeout_ms: after so many milliseconds the attempt is called with `EXPIRED`.
            attempt: see `Attempt`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        waiter = Waiter(future, tuple(dict.fromkeys(keys)), attempt)
        waiter.deadline = self._clock.monotonic() + max(timeout_ms, 0.0) / 1000.0
        waiters = self._waiters
        for key in waiter.keys:
            at_key = waiters.get(key)
            if at_key is None:
                waiters[key] = {waiter: None}
            else:
                at_key[waiter] = None
        self._sequence += 1
        self._living += 1
        heapq.heappush(self._deadlines, (waiter.deadline, self._sequence, waiter))
        future.add_done_callback(lambda _: self._cancelled(waiter))
        if self._timer is None or waiter.deadline < self._timer_deadline:
            self._set_timer(waiter.deadline)
        return future

    def check(self, key: Hashable) -> None:
        """Something about `key` moved: let its waiters try."""
        at_key = self._waiters.get(key)
        if not at_key:
            return
        for waiter in list(at_key):
            try:
                if waiter.attempt is not _answered and (answer := waiter.attempt(key)) is not None:
                    self._answer(waiter, answer)
            except Exception as error:  # noqa: BLE001  whoever moved the key has nothing to do with it
                self._fail(waiter, error)

    def expire(self) -> None:
        """Answer all whose time is up by the clock; the timer calls this, and tests that advance a clock by hand."""
        now = self._clock.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            waiter = heapq.heappop(self._deadlines)[2]
            if waiter.attempt is _answered:
                continue
            try:
                answer = waiter.attempt(EXPIRED)
                assert answer is not None, "an attempt must answer when its time is up"
                self._answer(waiter, answer)
            except Exception as error:  # noqa: BLE001  the others' time is up too
                self._fail(waiter, error)
        self._rearm()

    def close(self) -> None:
        """Cancel all waiters and the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, _, waiter in self._deadlines:
            self._forget(waiter)
            waiter.future.cancel()
        self._deadlines.clear()

    def _answer(self, waiter: Waiter[Any], answer: Any) -> None:
        self._forget(waiter)
        if not waiter.future.done():
            waiter.future.set_result(answer)

    def _fail(self, waiter: Waiter[Any], error: Exception) -> None:
        self._forget(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(error)

    def _cancelled(self, waiter: Waiter[Any]) -> None:
        if waiter.attempt is not _answered:
            self._forget(waiter)

    def _forget(self, waiter: Waiter[Any]) -> None:
        if waiter.attempt is _answered:
            return
        waiter.attempt = _answered
        self._living -= 1
        for key in waiter.keys:
            at_key = self._waiters[key]
            del at_key[waiter]
            if not at_key:
                del self._waiters[key]
        waiter.keys = ()
        if len(self._deadlines) > 2 * self._living + _FEW:
            self._deadlines = [entry for entry in self._deadlines if entry[2].attempt is not _answered]
            heapq.heapify(self._deadlines)

    def _rearm(self) -> None:
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].attempt is _answered:
            heapq.heappop(deadlines)
        if deadlines:
            self._set_timer(deadlines[0][0])
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_deadline = deadline
        delay = max(deadline - self._clock.monotonic(), 0.0005)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.expire()


def _answered(key: Hashable) -> None:
    """Stands in for the attempt of a waiter that is done."""
