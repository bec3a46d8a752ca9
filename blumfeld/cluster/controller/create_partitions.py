"""CreatePartitions (37).

Owns the growing of topics. Invariant: partitions are only ever added at the end, with the replication factor of
partition 0.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.assignments import (
    new_partition,
    place,
    why_nobody_is_active,
    why_not_this_assignment,
)
from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, NO_ERROR, ApiError, Decision, Turn
from blumfeld.cluster.controller.elections import default_directory
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsResponse

if TYPE_CHECKING:
    from blumfeld.cluster.image.topics import TopicImage
    from blumfeld.protocol.schema import Record


def create_partitions(turn: Turn, request: CreatePartitionsRequest) -> Decision[CreatePartitionsResponse]:
    """Grow each topic to the count asked for; a topic that cannot grow is answered with its own error."""
    records: list[Record] = []
    results: list[CreatePartitionsResponse.Result] = []
    counts = Counter(topic.name for topic in request.topics)
    duplicate = ApiError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
    results.extend(_result(name, duplicate) for name, count in counts.items() if count > 1)
    for topic in request.topics:
        if counts[topic.name] > 1:
            continue
        made = _grow(turn, topic, MAX_RECORDS_PER_OPERATION - len(records))
        if isinstance(made, ApiError):
            results.append(_result(topic.name, made))
        else:
            records.extend(made)
            results.append(_result(topic.name, NO_ERROR))
    return Decision([] if request.validate_only else records, CreatePartitionsResponse(results=results))


def _result(name: str, error: ApiError) -> CreatePartitionsResponse.Result:
    return CreatePartitionsResponse.Result(name=name, error_code=error.code, error_message=error.message)


def _grow(turn: Turn, wanted: CreatePartitionsRequest.Topic, most: int) -> list[Record] | ApiError:
    topic = turn.image.topics.get(wanted.name)
    if topic is None:
        return ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    present = len(topic.partitions)
    if wanted.count == present:
        return ApiError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
    if wanted.count < present:
        return ApiError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {wanted.name} currently has {present} partition(s); {wanted.count} would not be an increase.",
        )
    if wanted.count - present > most:
        return ApiError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
    assignments = _assignments(turn, topic, wanted, wanted.count - present)
    if isinstance(assignments, ApiError):
        return assignments
    cluster = turn.image.cluster
    directory_of = default_directory(cluster)
    return [
        new_partition(cluster, tuple(replicas), tuple(map(directory_of, replicas))).to_record(topic.id, index)
        for index, replicas in enumerate(assignments, start=present)
    ]


def _assignments(
    turn: Turn, topic: TopicImage, wanted: CreatePartitionsRequest.Topic, additional: int
) -> list[list[int]] | ApiError:
    factor = len(topic.partitions[0].replicas)
    if wanted.assignments is None:
        return place(turn, additional, factor)
    if len(wanted.assignments) != additional:
        return ApiError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {additional} additional partition(s), but only {len(wanted.assignments)}"
            " assignment(s) were specified.",
        )
    cluster = turn.image.cluster
    for index, assignment in enumerate(wanted.assignments, start=len(topic.partitions)):
        error = why_not_this_assignment(cluster, assignment.broker_ids, factor)
        error = error or why_nobody_is_active(cluster, assignment.broker_ids, index)
        if error is not None:
            return error
    return [list(assignment.broker_ids) for assignment in wanted.assignments]
