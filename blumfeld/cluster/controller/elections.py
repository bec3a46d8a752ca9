"""Who leads: after a broker is lost or comes back, on request, and in the periodic turns.

Owns every election that is not part of an ISR change or a reassignment. The rules for one partition are
`partition_change.py`'s.

Invariants: a broker that is being removed is no leader even where an election is unclean; one that is being unfenced
counts as active although the image does not say so yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, cast

from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, NO_ERROR, ApiError, Decision, Turn
from blumfeld.cluster.controller.partition_change import Election, Target, change_partition
from blumfeld.cluster.controller.refusals import refusal
from blumfeld.cluster.image.directories import MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from blumfeld.cluster.image.topics import NO_LEADER, PartitionRegistration, TopicImage
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.protocol.schema import Record

PREFERRED, UNCLEAN = 0, 1


class Placed(NamedTuple):
    """A partition and where it belongs."""

    topic: TopicImage
    partition_id: int
    partition: PartitionRegistration


def partitions_where(image: MetadataImage, condition: Callable[[PartitionRegistration], bool]) -> Iterator[Placed]:
    """All partitions that meet a condition. A scan: 10,000 partitions take milliseconds, and it is rare."""
    for topic in image.topics.by_id.values():
        for index, partition in topic.partitions.items():
            if condition(partition):
                yield Placed(topic, index, partition)


def leads_anything(image: MetadataImage, broker_id: int) -> bool:
    return any(
        partition.leader == broker_id
        for topic in image.topics.by_id.values()
        for partition in topic.partitions.values()
    )


def acceptable_leader(
    cluster: ClusterImage, partition: PartitionRegistration, *, gone: int = NO_LEADER, back: int = NO_LEADER
) -> Callable[[int], bool]:
    """Which replicas may lead `partition`: active, or `back`; not `gone`; and with their directory online."""

    def acceptable(replica: int) -> bool:
        broker = cluster.brokers.get(replica)
        return (
            broker is not None
            and replica != gone
            and (broker.active or replica == back)
            and broker.has_online_directory(partition.directory(replica))
        )

    return acceptable


def default_directory(cluster: ClusterImage) -> Callable[[int], bytes]:
    """Where a broker puts a new replica, as far as is known: its only directory, or it says so later (KIP-858)."""

    def directory(broker_id: int) -> bytes:
        broker = cluster.brokers.get(broker_id)
        if broker is None:
            return UNASSIGNED_DIRECTORY
        if not broker.directories:
            return MIGRATING_DIRECTORY
        return broker.directories[0] if len(broker.directories) == 1 else UNASSIGNED_DIRECTORY

    return directory


def leader_and_isr_updates(
    turn: Turn, partitions: Iterable[Placed], *, gone: int = NO_LEADER, back: int = NO_LEADER
) -> list[Record]:
    """Take broker `gone` out of ISRs and leadership; let broker `back` lead what has no leader."""
    cluster = turn.image.cluster
    directory_of = default_directory(cluster)
    records: list[Record] = []
    for topic, index, partition in partitions:
        unclean = turn.settings.configs.unclean_leader_election(turn.image, topic.name)
        record = change_partition(
            partition,
            topic.id,
            index,
            Target(isr=[replica for replica in partition.isr if replica != gone]),
            acceptable=acceptable_leader(cluster, partition, gone=gone, back=back),
            default_directory=directory_of,
            election=Election.UNCLEAN if unclean else Election.ONLINE,
        )
        if record is not None:
            records.append(record)
    return records


def updates_without(turn: Turn, broker_id: int) -> list[Record]:
    """Take a broker out of every ISR and leadership."""
    in_isr = partitions_where(turn.image, lambda partition: broker_id in partition.isr)
    return leader_and_isr_updates(turn, in_isr, gone=broker_id)


def updates_with(turn: Turn, broker_id: int, failed: Collection[bytes]) -> list[Record]:
    """Let a broker that comes back lead what nobody leads, but nothing in directories that have `failed`."""
    leaderless = partitions_where(
        turn.image, lambda partition: not partition.has_leader and partition.directory(broker_id) not in failed
    )
    return leader_and_isr_updates(turn, leaderless, back=broker_id)


# ElectLeaders (43)


def elect_leaders(turn: Turn, request: ElectLeadersRequest) -> Decision[ElectLeadersResponse]:
    """Preferred or unclean election of the named partitions, of all if none is named (KIP-183, KIP-460)."""
    if request.election_type not in {PREFERRED, UNCLEAN}:
        message = f"Unknown election type {request.election_type}"
        return Decision([], cast("ElectLeadersResponse", refusal(request, ErrorCode.INVALID_REQUEST, message)))
    records: list[Record] = []
    results = []
    everything = request.topic_partitions is None
    wanted = (
        [(topic.name, list(topic.partitions)) for topic in turn.image.topics.by_id.values()]
        if request.topic_partitions is None
        else [(topic.topic, topic.partitions) for topic in request.topic_partitions]
    )
    for name, indexes in wanted:
        result = ElectLeadersResponse.ReplicaElectionResult(topic=name, partition_result=[])
        for index in indexes:
            error = _elect_leader(turn, name, index, request.election_type, records)
            if everything and error.code == ErrorCode.ELECTION_NOT_NEEDED:
                continue
            result.partition_result.append(
                ElectLeadersResponse.ReplicaElectionResult.PartitionResult(
                    partition_id=index, error_code=error.code, error_message=error.message
                )
            )
        results.append(result)
    if len(records) > MAX_RECORDS_PER_OPERATION:
        return Decision([], ElectLeadersResponse(error_code=ErrorCode.POLICY_VIOLATION, replica_election_results=[]))
    return Decision(
        records,
        ElectLeadersResponse(error_code=ErrorCode.NONE, replica_election_results=results),
        atomic=False,
    )


def _elect_leader(turn: Turn, name: str, index: int, election_type: int, records: list[Record]) -> ApiError:
    topic = turn.image.topics.get(name)
    if topic is None:
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
    partition = topic.partitions.get(index)
    if partition is None:
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}")
    preferred = election_type == PREFERRED
    if partition.has_preferred_leader if preferred else partition.has_leader:
        return ApiError.of(ErrorCode.ELECTION_NOT_NEEDED)
    record = _election_record(
        turn, Placed(topic, index, partition), Election.PREFERRED if preferred else Election.UNCLEAN
    )
    if record is None:
        return ApiError.of(
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE if preferred else ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
        )
    records.append(record)
    return NO_ERROR


def _election_record(turn: Turn, placed: Placed, election: Election) -> Record | None:
    cluster = turn.image.cluster
    return change_partition(
        placed.partition,
        placed.topic.id,
        placed.partition_id,
        Target(),
        acceptable=acceptable_leader(cluster, placed.partition),
        default_directory=default_directory(cluster),
        election=election,
    )


# Periodic turns


def balance_leaders(turn: Turn) -> Decision[bool]:
    """Elect the preferred leader of partitions led by another, a bounded number at a time; True: there may be more."""
    return _elect_some(turn, lambda partition: not partition.has_preferred_leader, Election.PREFERRED)


def elect_unclean_leaders(turn: Turn) -> Decision[bool]:
    """Elect leaders of leaderless partitions whose topic allows unclean elections; True: there may be more."""
    return _elect_some(turn, lambda partition: not partition.has_leader, Election.UNCLEAN)


def _elect_some(turn: Turn, condition: Callable[[PartitionRegistration], bool], election: Election) -> Decision[bool]:
    limit = turn.settings.max_elections_per_turn
    records: list[Record] = []
    for placed in partitions_where(turn.image, condition):
        if len(records) >= limit:
            return Decision(records, True, atomic=False)
        if election is Election.UNCLEAN and not turn.settings.configs.unclean_leader_election(
            turn.image, placed.topic.name
        ):
            continue
        record = _election_record(turn, placed, election)
        if record is not None:
            records.append(record)
    return Decision(records, False, atomic=False)


def needs_balancing(image: MetadataImage) -> bool:
    """Whether any partition is led by another than its preferred replica."""
    return next(partitions_where(image, lambda partition: not partition.has_preferred_leader), None) is not None


def needs_unclean_election(image: MetadataImage) -> bool:
    """Whether any partition has no leader."""
    return next(partitions_where(image, lambda partition: not partition.has_leader), None) is not None
