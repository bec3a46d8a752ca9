"""The pump: events to the core in order, its effects to whoever carries them out in order, and the one timer.

Owns the two queues, and the clock as the core sees it. Decides nothing.

Invariants
- One effect after the other; an election state on its way to the disk stops everything behind it, events included.
- Whoever posts an event from within an effect does not interrupt: it waits for its turn.
- Time in which the loop stood still is told to the core before anything else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.cluster.raft.events import Effect, Event, PersistElection, Stalled, Tick

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.env.clock import Clock

WAKE_AT_LEAST_MS = 250
"""With peers, it wakes so often: a longer sleep than it asked for was a stall of the loop."""
STALL_MS = 50
_TIMER_SLACK_S = 0.0005
_NEVER = float("inf")


class Pump:
    """Drives one core.

    Args:
        carry_out: does what an effect says. May raise: then the pump stops for good.
        persist: makes an election state durable, and then calls its second argument, on the loop.
        on_error: told why the pump stopped.
    """

    def __init__(
        self,
        core: RaftCore,
        clock: Clock,
        *,
        carry_out: Callable[[Effect], None],
        persist: Callable[[PersistElection, Callable[[], None]], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._core = core
        self._clock = clock
        self._carry_out = carry_out
        self._persist = persist
        self._on_error = on_error
        self._events: deque[Event] = deque()
        self._effects: deque[Effect] = deque()
        self._running = self._persisting = self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = _NEVER

    def now(self) -> float:
        """The core's time: milliseconds of the monotonic clock."""
        return self._clock.monotonic() * 1000

    def start(self) -> None:
        """Let the core begin."""
        self._effects.extend(self._core.start(self.now()))
        self._run()

    def post(self, event: Event) -> None:
        """Something happened: let the core see it, in turn."""
        if not self._stopped:
            self._notice_stall()
            self._events.append(event)
            self._run()

    def catch_up(self) -> None:
        """Let the core see what there is to be seen, its deadlines moved where the loop stood still."""
        if not self._stopped:
            self._notice_stall()
            self._run()

    def step(self, event: Event) -> None:
        """Let the core see `event` at once, ahead of what waits; its effects take their turn."""
        self._effects.extend(self._core.step(self.now(), event))

    def stop(self) -> None:
        """Carry nothing out any more."""
        self._stopped = True
        self._effects.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        if self._running or self._persisting or self._stopped:
            return
        self._running = True
        try:
            while not self._stopped:
                if self._effects:
                    effect = self._effects.popleft()
                    if isinstance(effect, PersistElection):
                        self._persisting = True
                        self._persist(effect, self._persisted)
                        break
                    self._carry_out(effect)
                elif self._events:
                    self._effects.extend(self._core.step(self.now(), self._events.popleft()))
                else:
                    break
        except Exception as error:  # noqa: BLE001  whatever it is, the replica's state is not to be trusted any more
            self.stop()
            self._on_error(error)
        finally:
            self._running = False
        self._arm()

    def _persisted(self) -> None:
        self._persisting = False
        self._run()

    def _notice_stall(self) -> None:
        late = self.now() - self._wake_at
        if late > STALL_MS:
            self._wake_at = _NEVER
            self._events.append(Stalled(late))

    def _arm(self) -> None:
        if self._persisting or self._stopped:
            return
        core = self._core
        now = self.now()
        wake_at = core.next_deadline
        if not core.log.voters.is_only(core.key):
            wake_at = min(wake_at, now + WAKE_AT_LEAST_MS)
        if wake_at == self._wake_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake_at = wake_at
        if wake_at < _NEVER:
            delay_s = max(wake_at - now, 0) / 1000 + _TIMER_SLACK_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._notice_stall()
        self._wake_at = _NEVER
        self.post(Tick())
