"""AlterPartitionReassignments (45), ListPartitionReassignments (46): replicas move to other brokers (KIP-455).

A reassignment is part of the partition itself: while it lasts, `replicas` are the target's followed by those that go,
`adding` and `removing` say which are which. It completes inside an ISR change (`partition_change.py`).

Invariant: cancelling goes back to the replicas before; where none of them is in sync it needs unclean elections to be
allowed.

Difference to Apache Kafka: a partition that one request wants in two places is refused; Kafka decides both times on
what was before, and leaves a reassignment of brokers that are no replicas.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.assignments import why_not_this_assignment
from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, NO_ERROR, ApiError, Decision, Turn
from blumfeld.cluster.controller.elections import Placed, acceptable_leader, default_directory
from blumfeld.cluster.controller.partition_change import Election, Target, change_partition
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
)
from blumfeld.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from blumfeld.cluster.image.topics import PartitionRegistration, TopicImage
    from blumfeld.protocol.schema import Record


def alter_partition_reassignments(
    turn: Turn, request: AlterPartitionReassignmentsRequest
) -> Decision[AlterPartitionReassignmentsResponse]:
    """Start, change or (replicas null) cancel reassignments; each partition has its own answer."""
    records: list[Record] = []
    responses: list[AlterPartitionReassignmentsResponse.Topic] = []
    targets: defaultdict[tuple[str, int], set[tuple[int, ...] | None]] = defaultdict(set)
    for topic in request.topics:
        for wanted in topic.partitions:
            target = None if wanted.replicas is None else tuple(wanted.replicas)
            targets[topic.name, wanted.partition_index].add(target)
    for topic in request.topics:
        answers: list[AlterPartitionReassignmentsResponse.Topic.Partition] = []
        for wanted in topic.partitions:
            if len(targets[topic.name, wanted.partition_index]) > 1:
                message = f"{topic.name}:{wanted.partition_index} cannot move to several places."
                error = ApiError(ErrorCode.INVALID_REQUEST, message)
            else:
                factor_may_change = request.allow_replication_factor_change
                error = _alter(turn, topic.name, wanted, records, factor_may_change=factor_may_change)
            answers.append(
                AlterPartitionReassignmentsResponse.Topic.Partition(
                    partition_index=wanted.partition_index, error_code=error.code, error_message=error.message
                )
            )
        responses.append(AlterPartitionReassignmentsResponse.Topic(name=topic.name, partitions=answers))
    error = NO_ERROR
    if len(records) > MAX_RECORDS_PER_OPERATION:
        records, responses = [], []
        error = ApiError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
    response = AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_code=error.code,
        error_message=error.message,
        responses=responses,
    )
    return Decision(records, response)


def _alter(
    turn: Turn,
    name: str,
    wanted: AlterPartitionReassignmentsRequest.Topic.Partition,
    records: list[Record],
    *,
    factor_may_change: bool,
) -> ApiError:
    topic = turn.image.topics.get(name)
    if topic is None:
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {name}.")
    partition = topic.partitions.get(wanted.partition_index)
    if partition is None:
        message = f"Unable to find partition {name}:{wanted.partition_index}."
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
    placed = Placed(topic, wanted.partition_index, partition)
    if wanted.replicas is None:
        return _cancel(turn, placed, records)
    error = why_not_this_assignment(turn.image.cluster, wanted.replicas, None)
    if error is None and not factor_may_change:
        error = _why_not_this_factor(partition, wanted.replicas)
    if error is not None:
        return error
    before = [replica for replica in partition.replicas if replica not in partition.adding_replicas]
    removing = [replica for replica in partition.replicas if replica not in wanted.replicas]
    adding = [replica for replica in wanted.replicas if replica not in before]
    target = Target(replicas=[*wanted.replicas, *removing], removing=removing, adding=adding)
    _change(turn, placed, target, Election.ONLINE, records)
    return NO_ERROR


def _why_not_this_factor(partition: PartitionRegistration, replicas: Sequence[int]) -> ApiError | None:
    """KIP-860: a tool that means to move replicas must not change their number by accident."""
    present = len({*partition.replicas, *partition.adding_replicas}.difference(partition.removing_replicas))
    if present == len(replicas):
        return None
    return ApiError(
        ErrorCode.INVALID_REPLICATION_FACTOR,
        f"The replication factor is changed from {present} to {len(replicas)}",
    )


def _cancel(turn: Turn, placed: Placed, records: list[Record]) -> ApiError:
    partition = placed.partition
    if not partition.is_reassigning:
        return ApiError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    replicas = [replica for replica in partition.replicas if replica not in partition.adding_replicas]
    isr = [replica for replica in partition.isr if replica not in partition.adding_replicas]
    unclean = turn.settings.configs.unclean_leader_election(turn.image, placed.topic.name)
    if not isr:
        if not unclean or not replicas:
            return ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Unable to revert partition assignment for {placed.topic.name}:{placed.partition_id} because it would"
                " require an unclean leader election.",
            )
        isr = [replicas[0]]
    target = Target(isr=isr, replicas=replicas, removing=[], adding=[])
    _change(turn, placed, target, Election.UNCLEAN if unclean else Election.ONLINE, records)
    return NO_ERROR


def _change(turn: Turn, placed: Placed, target: Target, election: Election, records: list[Record]) -> None:
    cluster = turn.image.cluster
    record = change_partition(
        placed.partition,
        placed.topic.id,
        placed.partition_id,
        target,
        acceptable=acceptable_leader(cluster, placed.partition),
        default_directory=default_directory(cluster),
        election=election,
    )
    if record is not None:
        records.append(record)


def list_partition_reassignments(
    turn: Turn, request: ListPartitionReassignmentsRequest
) -> Decision[ListPartitionReassignmentsResponse]:
    """Reassignments that are going on, of the partitions named or of all."""
    found: list[tuple[TopicImage, Sequence[int]]] = []
    if request.topics is None:
        found = [(topic, list(topic.partitions)) for topic in turn.image.topics.by_id.values()]
    else:
        for wanted in request.topics:
            topic = turn.image.topics.get(wanted.name)
            if topic is not None:
                found.append((topic, wanted.partition_indexes))
    topics = []
    for topic, indexes in found:
        going_on = [
            ListPartitionReassignmentsResponse.Topic.Partition(
                partition_index=index,
                replicas=list(partition.replicas),
                adding_replicas=list(partition.adding_replicas),
                removing_replicas=list(partition.removing_replicas),
            )
            for index in indexes
            if (partition := topic.partitions.get(index)) is not None and partition.is_reassigning
        ]
        if going_on:
            topics.append(ListPartitionReassignmentsResponse.Topic(name=topic.name, partitions=going_on))
    return Decision(
        [], ListPartitionReassignmentsResponse(error_code=ErrorCode.NONE, error_message=None, topics=topics)
    )
