"""One partition's next state as a PartitionChangeRecord: elections, ISR, replicas, reassignment, directories.

Owns the rules by which a partition may change; every decider that touches a partition comes here. Must never know why
it changes.

Elections, in order, among replicas that are acceptable (active, directory online):
  the sitting leader if it is in the ISR (for PREFERRED: the preferred replica before it) → first replica in the ISR,
  in replica order → with UNCLEAN: any acceptable replica, which then is the whole ISR and RECOVERING → nobody: leader
  −1.

Invariants (KRaft, eligible leader replicas off)
- The ISR is never emptied: the last member stays, and the leader becomes −1.
- The leader epoch rises wherever the record sets a leader, even to the same one; removing a replica does that (a
  removed leader or follower must not go on in the old epoch). An ISR shrink does not, from metadata.version 12.
- The partition epoch rises with every change.
- A reassignment completes in the change by which the last adding replica is in the ISR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from blumfeld.cluster.image.topics import NO_LEADER, NO_LEADER_CHANGE, RECOVERING, PartitionRegistration
from blumfeld.protocol.messages.metadata_log import PartitionChangeRecord


class Election(Enum):
    """Who may become leader."""

    ONLINE = "online"
    """A member of the ISR; the sitting leader stays if it can."""
    PREFERRED = "preferred"
    """A member of the ISR; the preferred replica if it can."""
    UNCLEAN = "unclean"
    """Anybody, if no member of the ISR can: acknowledged records may be lost."""


class Target(NamedTuple):
    """What is asked of a partition; None leaves things as they are."""

    isr: Sequence[int] | None = None
    replicas: Sequence[int] | None = None
    removing: Sequence[int] | None = None
    adding: Sequence[int] | None = None
    recovery_state: int | None = None
    directories: Mapping[int, bytes] | None = None


def change_partition(
    partition: PartitionRegistration,
    topic_id: bytes,
    index: int,
    target: Target,
    *,
    acceptable: Callable[[int], bool],
    default_directory: Callable[[int], bytes],
    election: Election = Election.ONLINE,
) -> PartitionChangeRecord | None:
    """The record that takes `partition` to `target`, electing a leader where one is needed; None if nothing changes.

    Args:
        acceptable: whether a replica may lead at all: active, and its directory online.
        default_directory: where a broker puts a replica that is new to it.
    """
    record = PartitionChangeRecord(topic_id=topic_id, partition_id=index)
    isr = list(partition.isr if target.isr is None else target.isr)
    replicas = list(partition.replicas if target.replicas is None else target.replicas)
    removing = list(partition.removing_replicas if target.removing is None else target.removing)
    adding = list(partition.adding_replicas if target.adding is None else target.adding)

    completed = complete_reassignment(replicas, isr, removing, adding)
    if completed is not None:
        replicas, isr = completed
        removing, adding = [], []

    leader, unclean = _elect(partition, replicas, isr, acceptable, election)
    if leader != partition.leader:
        record.leader = leader
        if unclean:
            isr = [leader]
    elif not set(partition.replicas) <= set(replicas):
        record.leader = leader  # a replica goes: the epoch must rise

    if isr and isr != list(partition.isr):
        record.isr = isr
    _set_assignment(record, partition, replicas, removing, adding, target.directories, default_directory)
    recovery_state = partition.leader_recovery_state if target.recovery_state is None else target.recovery_state
    if unclean and leader != partition.leader:
        recovery_state = RECOVERING
    if recovery_state != partition.leader_recovery_state:
        record.leader_recovery_state = recovery_state
    if partition.elr:
        record.eligible_leader_replicas = []
    return record if _changes_something(record) else None


def _elect(
    partition: PartitionRegistration,
    replicas: list[int],
    isr: list[int],
    acceptable: Callable[[int], bool],
    election: Election,
) -> tuple[int, bool]:
    """(leader, whether the election was unclean)."""

    def fit(replica: int) -> bool:
        return replica in isr and acceptable(replica)

    if election is Election.PREFERRED and fit(replicas[0]):
        return replicas[0], False
    if partition.leader != NO_LEADER and fit(partition.leader):
        return partition.leader, False
    for replica in replicas:
        if fit(replica):
            return replica, False
    if election is Election.UNCLEAN:
        for replica in replicas:
            if acceptable(replica):
                return replica, True
    return NO_LEADER, False


def _set_assignment(
    record: PartitionChangeRecord,
    partition: PartitionRegistration,
    replicas: list[int],
    removing: list[int],
    adding: list[int],
    directories: Mapping[int, bytes] | None,
    default_directory: Callable[[int], bytes],
) -> None:
    known = dict(zip(partition.replicas, partition.directories, strict=True))
    if directories:
        known.update(directories)
    wanted = [known[replica] if replica in known else default_directory(replica) for replica in replicas]
    if wanted != list(partition.directories):
        record.directories = wanted
    if replicas != list(partition.replicas):
        record.replicas = replicas
    if removing != list(partition.removing_replicas):
        record.removing_replicas = removing
    if adding != list(partition.adding_replicas):
        record.adding_replicas = adding


def _changes_something(record: PartitionChangeRecord) -> bool:
    return (
        record.leader != NO_LEADER_CHANGE
        or record.isr is not None
        or record.replicas is not None
        or record.removing_replicas is not None
        or record.adding_replicas is not None
        or record.leader_recovery_state != -1
        or record.directories is not None
        or record.eligible_leader_replicas is not None
        or record.last_known_elr is not None
    )


def complete_reassignment(
    replicas: Sequence[int], isr: Sequence[int], removing: Sequence[int], adding: Sequence[int]
) -> tuple[list[int], list[int]] | None:
    """(replicas, ISR) once the reassignment can be completed; None while it cannot, or there is none.

    All that are being added must be in sync. Where the replication factor falls, all that stay must be, so that
    completing never makes the ISR smaller than it need be.
    """
    if not removing and not adding:
        return None
    new_isr = [replica for replica in isr if replica not in removing]
    new_replicas = [replica for replica in replicas if replica not in removing]
    if not new_isr or not new_replicas:
        return None
    if not set(adding) <= set(new_isr):
        return None
    if len(adding) < len(removing) and not set(new_replicas) <= set(new_isr):
        return None
    return new_replicas, new_isr
