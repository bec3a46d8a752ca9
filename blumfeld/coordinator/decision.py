"""What a machine decides: records to write, answers to give, and what happens in between.

Owns the vocabulary that machines and the runtime share. A *machine* is the state of all groups (later:
transactional ids) of one partition of an internal topic. It is pure: it is called with a request, a ticket and the
wall clock, and returns a `Decision`. It must never know logs, loops or futures.

The runtime carries a decision out in this order; a failed append ends it, with nothing changed:

    records → appended → `machine.replay(…)` of each → `then()` → answers, once the records are committed

Invariants
- What the log describes changes in `replay` only, the same code live and when a shard is loaded. What the log does
  not describe (who waits, who is pending, deadlines) may change at once.
- A decision with records answers nobody before they are committed; one without answers at once, unless it is
  `settled`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Bytes
    from blumfeld.protocol.schema import Response


class Ticket:
    """One request as a machine sees it: kept where the answer has to wait, handed back with the answer."""

    __slots__ = ()


class Answer(NamedTuple):
    """The response to the request that `ticket` stands for."""

    ticket: Ticket
    response: Response


class LogRecord(NamedTuple):
    """One record of an internal topic, decoded and encoded: what is written is what is replayed."""

    key: Any
    value: Any
    """None: a tombstone."""
    key_bytes: Bytes
    value_bytes: Bytes | None


class Decision(NamedTuple):
    """What is to be done about one request or deadline."""

    records: Sequence[LogRecord] = ()
    answers: Sequence[Answer] = ()
    settled: bool = False
    """The answers show state that the log describes: they wait until all that was written so far is committed."""
    atomic: bool = True
    """The records are written together or not at all; otherwise as many batches as needed."""
    then: Callable[[], Decision] | None = None
    """Goes on when the records are applied. What it returns has no records of its own."""


NOTHING = Decision()


class Timers(Protocol):
    """A machine's deadlines. When one is due, `machine.expire(key, now_ms)` is called, once."""

    def schedule(self, key: tuple[str, ...], delay_ms: int) -> None:
        """Set or replace the deadline of `key`."""
        ...

    def cancel(self, key: tuple[str, ...]) -> None:
        """Forget it; nothing happens when there is none."""
        ...


class Machine(Protocol):
    """The state of one partition of an internal topic."""

    def decode(self, key: Bytes, value: Bytes | None) -> LogRecord | None:
        """The record's meaning, None for one that this version does not keep. Raises ProtocolError."""
        ...

    def replay(self, record: LogRecord, offset: int, producer_id: int = -1) -> None:
        """Let the record take effect; `producer_id` is -1 outside transactions."""
        ...

    def replay_end_transaction(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of `producer_id` ended: its records take effect, or never do."""
        ...

    def on_loaded(self, now_ms: int) -> Decision:
        """Everything in the log was replayed: deadlines start."""
        ...

    def expire(self, key: tuple[str, ...], now_ms: int) -> Decision:
        """A deadline is due."""
        ...
