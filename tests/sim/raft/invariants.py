"""What must hold whatever happens. Checked after every step of the simulation.

Owns the memory of the whole universe: who led which epoch, what was ever committed, who voted for whom. A violation
raises `ViolationError`, which names the seed's step and what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.cluster.raft.events import AppendEpochStart, HighWatermark, Truncate
from blumfeld.cluster.raft.roles import Leader, Resigned
from blumfeld.cluster.raft.voters import ReplicaKey

if TYPE_CHECKING:
    from tests.sim.raft.disk import Entry
    from tests.sim.raft.replica import Replica


class ViolationError(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """The universe's book-keeping."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], ReplicaKey] = {}
        self.ledger: list[tuple[int, Entry, int]] = []
        """By offset: (digest of the state after that offset, the entry that holds it, the epoch that committed it)."""
        self.identity: dict[tuple[int, int], Entry] = {}
        """By (base offset, epoch): nothing else may ever stand there."""
        self.committed_records = 0

    def violation(self, replica: Replica, text: str) -> ViolationError:
        return ViolationError(f"node {replica.id} at {replica.world.now:.1f} ms: {text}")

    def fail(self, replica: Replica, text: str) -> None:
        raise self.violation(replica, text)

    # ------------------------------------------------------------ roles and votes

    def check_role(self, replica: Replica) -> None:
        core = replica.core
        role = core.role
        if isinstance(role, Leader):
            leader = self.leaders.setdefault(role.epoch, replica.id)
            if leader != replica.id:
                self.fail(replica, f"leads epoch {role.epoch}, as {leader} does")
        log = core.log
        if not log.start_offset <= log.durable_offset <= log.end_offset:
            self.fail(replica, f"offsets out of order: {log.start_offset} {log.durable_offset} {log.end_offset}")
        if core.high_watermark > log.end_offset:
            self.fail(replica, f"high watermark {core.high_watermark} above the end {log.end_offset}")

    def voted(self, replica: Replica, epoch: int, candidate: ReplicaKey) -> None:
        """A vote was told to somebody, or asked of others for oneself."""
        before = self.votes.setdefault((replica.id, epoch), candidate)
        if before != candidate:
            self.fail(replica, f"voted for {before.id} and for {candidate.id} in epoch {epoch}")

    def check_new_leader(self, replica: Replica, effect: AppendEpochStart) -> None:
        """A new leader has everything that was committed in epochs below its own."""
        log = replica.disk.log
        for offset in range(log.start, len(self.ledger)):
            _, committed, epoch = self.ledger[offset]
            if epoch < effect.batch.epoch and log.entry_at(offset) != committed:
                self.fail(replica, f"leads epoch {effect.batch.epoch} without committed offset {offset}")

    # ------------------------------------------------------------ the log

    def check_entry(self, replica: Replica, entry: Entry) -> None:
        """Offset and epoch identify a batch for ever."""
        key = (entry.batch.base_offset, entry.batch.epoch)
        if self.identity.setdefault(key, entry) != entry:
            self.fail(replica, f"two different batches at offset {key[0]} of epoch {key[1]}")

    def check_truncation(self, replica: Replica, effect: Truncate) -> None:
        for offset in range(effect.offset, min(replica.disk.log.end, len(self.ledger))):
            if replica.disk.log.entry_at(offset) == self.ledger[offset][1]:
                self.fail(replica, f"cuts at {effect.offset} and loses the committed offset {offset}")

    def check_commit(self, replica: Replica, effect: HighWatermark) -> None:
        """A new high watermark: a leader's must rest on a majority of disks; nothing committed differs anywhere."""
        first_new = max(len(self.ledger), replica.disk.log.start)
        if effect.offset <= first_new:
            return
        if not isinstance(replica.core.role, Leader | Resigned):
            self.fail(replica, f"takes {effect.offset} for committed, but no leader has committed it")
        voters = replica.core.log.voters
        for offset in range(first_new, effect.offset):
            entry = replica.disk.log.entry_at(offset)
            holders = [
                other.id
                for other in replica.world.replicas
                if other.key in voters and other.disk.durable.entry_at(offset) == entry
            ]
            if entry is None or len(holders) < voters.majority:
                raise self.violation(replica, f"commits offset {offset}, which is on the disks of {holders} only")
            digest = self.ledger[-1][0] if self.ledger else 0
            self.ledger.append((hash((digest, entry)), entry, replica.core.epoch))
        self.committed_records = len(self.ledger)

    # ------------------------------------------------------------ state machines

    def digest_at(self, offset: int) -> int:
        """The digest of the state after everything below `offset`."""
        return self.ledger[offset - 1][0] if offset else 0

    def check_applied(self, replica: Replica, offset: int, entry: Entry | None) -> None:
        if offset >= len(self.ledger) or entry != self.ledger[offset][1]:
            self.fail(replica, f"applied something else at {offset} than was committed")
