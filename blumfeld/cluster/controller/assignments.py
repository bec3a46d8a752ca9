"""Replica assignments of new partitions, chosen or given by hand.

Owns what an assignment must satisfy and how a partition starts. Shared by CreateTopics, CreatePartitions and
reassignments.

Invariant: a partition starts with its active replicas in sync, in replica order, and the first of them leads, in
leader epoch 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.decision import ApiError, Turn
from blumfeld.cluster.controller.placement import Placement, usable_brokers
from blumfeld.cluster.image.topics import PartitionRegistration
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage


def new_partition(
    cluster: ClusterImage, replicas: tuple[int, ...], directories: tuple[bytes, ...]
) -> PartitionRegistration:
    """A partition at its start: the active replicas are in sync, the first of them leads."""
    isr = tuple(replica for replica in replicas if cluster.is_active(replica))
    return PartitionRegistration(replicas, isr, isr[0], 0, 0, directories)


def place(turn: Turn, count: int, factor: int) -> list[list[int]] | ApiError:
    """Replicas for `count` new partitions, each with an active replica."""
    placement = Placement(usable_brokers(turn.image.cluster), turn.entropy)
    error = placement.check(factor)
    return [placement.place(factor) for _ in range(count)] if error is None else error


def why_not_this_assignment(
    cluster: ClusterImage, replicas: Sequence[int], replication_factor: int | None
) -> ApiError | None:
    """Why a manual assignment is refused: empty, a broker unknown or named twice, another replication factor."""
    code = ErrorCode.INVALID_REPLICA_ASSIGNMENT
    if not replicas:
        return ApiError(code, "The manual partition assignment includes an empty replica list.")
    previous: int | None = None
    for replica in sorted(replicas):
        if replica not in cluster.brokers:
            return ApiError(
                code,
                f"The manual partition assignment includes broker {replica}, but no such broker is registered.",
            )
        if replica == previous:
            return ApiError(code, f"The manual partition assignment includes the broker {replica} more than once.")
        previous = replica
    if replication_factor is not None and len(replicas) != replication_factor:
        return ApiError(
            code,
            f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is not"
            f" consistent with previous partitions, which have {replication_factor} replica(s).",
        )
    return None


def why_nobody_is_active(cluster: ClusterImage, replicas: Sequence[int], index: int) -> ApiError | None:
    if any(cluster.is_active(replica) for replica in replicas):
        return None
    return ApiError(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        f"All brokers specified in the manual partition assignment for partition {index} are fenced or in"
        " controlled shutdown.",
    )
