"""What deciders are given and what they give back.

Owns `Turn` (all that a decider may know), `Decision` (records to append and the answer to release once they are
committed) and `ApiError` (a refusal as data). Deciders are plain functions `(turn, request) → Decision`: they append
nothing, wait for nothing, read no clock and change no state. State changes only when the records are replayed, by the
same code on every node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.controller.context import ControllerContext
    from blumfeld.cluster.controller.sessions import BrokerSessions
    from blumfeld.cluster.controller.settings import ControllerSettings
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.env.entropy import Entropy
    from blumfeld.protocol.schema import Record

MAX_RECORDS_PER_OPERATION: Final = 10_000
"""Kafka's bound on what one user request may write; also the bound on partitions in one CreateTopics."""

_Response = TypeVar("_Response")


class ApiError(NamedTuple):
    """A refusal, or NONE. `message` None: the client shows the code's own text."""

    code: ErrorCode
    message: str | None = None

    @property
    def is_failure(self) -> bool:
        return self.code != ErrorCode.NONE

    @classmethod
    def of(cls, code: ErrorCode) -> ApiError:
        """With the code's own text, as Kafka's exceptions carry it."""
        return cls(code, code.text)


NO_ERROR: Final = ApiError(ErrorCode.NONE)


class Decision(NamedTuple, Generic[_Response]):
    """Records to append, and the answer once they are committed.

    `atomic` records enter the log as one batch or not at all. The others may be split where they are many; they are
    ordered so that any prefix of them makes sense.
    """

    records: list[Record]
    response: _Response
    atomic: bool = True


class Turn(NamedTuple):
    """All that a decider may know.

    Args:
        image: metadata with all that was appended so far (speculative, not yet committed).
        sessions: which brokers are in touch; a heartbeat's decider is the only one that may note something there.
        settings: this controller's configuration.
        entropy: for topic ids and the start of placement.
        context: who asks.
        now: monotonic seconds.
        next_offset: the offset of the first record of this decision; new broker epochs are taken from it.
    """

    image: MetadataImage
    sessions: BrokerSessions
    settings: ControllerSettings
    entropy: Entropy
    context: ControllerContext
    now: float
    next_offset: int
