"""The in-sync replicas of a partition that is led here, with a change that the controller has not committed yet.

Owns the committed ISR, and at most one proposed change. The controller decides: a proposal is sent as AlterPartition,
and metadata or the answer settles it.

Invariants
- At most one proposal at a time; it carries the leader epoch and partition epoch it was made in.
- `maximal` ⊇ what the controller may take for the ISR at any moment: a replica that joins counts as soon as it is
  proposed, one that leaves counts until that is committed. The high watermark waits for all of `maximal` (KIP-497).
- After an answer that says neither yes nor no (fenced, unknown, …) the proposal stays: only metadata settles it.

A proposal's way:

    (none) ── expand / shrink ──> proposed ── answer: committed ──────────────────> (none)
                                     │  ├──── INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED ──> (none, as before)
                                     │  ├──── retriable, or no answer ──> proposed, sent again
                                     │  └──── any other refusal ──> proposed, until
                                     └──────── metadata (new partition epoch) ──> (none)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.partition import Partition

REFUSED_AND_NOT_APPLIED: Final = frozenset({ErrorCode.INELIGIBLE_REPLICA, ErrorCode.OPERATION_NOT_ATTEMPTED})
"""The controller said that our partition epoch is right and that nothing was changed."""

WAIT_FOR_METADATA: Final = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NEW_LEADER_ELECTED,
    }
)
"""Whether the change was applied is not known, or our view is old: the maximal ISR is kept until metadata arrives."""


class IsrProposal(NamedTuple):
    """A change of the ISR as it is sent to the controller. Compared by identity: see `Isr.is_current`."""

    partition: Partition
    leader_epoch: int
    partition_epoch: int
    isr: tuple[tuple[int, int], ...]
    """(broker id, broker epoch; −1 where not known)."""
    leader_recovery_state: int


class Answered(Enum):
    """What became of a proposal."""

    COMMITTED = auto()
    ROLLED_BACK = auto()
    WAITING = auto()
    RETRY = auto()


class Isr:
    """Committed members and the change under way."""

    __slots__ = ("committed", "maximal", "proposal")

    def __init__(self, committed: Iterable[int] = ()) -> None:
        self.commit(committed)

    def commit(self, members: Iterable[int]) -> None:
        """The controller's word, from metadata or an answer; whatever was proposed is settled."""
        self.committed = frozenset(members)
        self.maximal = self.committed
        self.proposal: IsrProposal | None = None

    def propose(self, proposal: IsrProposal) -> None:
        """A change that the controller shall commit."""
        assert self.proposal is None, "one ISR change at a time"
        self.proposal = proposal
        self.maximal = self.committed.union(member for member, _ in proposal.isr)

    def is_current(self, proposal: IsrProposal) -> bool:
        """Whether `proposal` is the very one under way: answers to any other are late."""
        return self.proposal is proposal

    def refused(self, error: ErrorCode) -> Answered:
        """The controller, or the way to it, refused the proposal under way."""
        if error in REFUSED_AND_NOT_APPLIED:
            self.commit(self.committed)
            return Answered.ROLLED_BACK
        return Answered.WAITING if error in WAIT_FOR_METADATA else Answered.RETRY

    def __repr__(self) -> str:
        proposed = "" if self.proposal is None else f" → {sorted(member for member, _ in self.proposal.isr)}"
        return f"Isr({sorted(self.committed)}{proposed})"
