"""CreateTopics (19).

Owns what a new topic must satisfy and the records that make it. Where replicas go is `placement.py`'s, what configs
mean is `configs.py`'s.

Invariants
- A topic is created whole or not at all: all topics of a request in one batch, records in the order Topic, Config,
  Partition.
- The initial ISR is the active replicas in replica order, and its first member leads; without an active replica the
  topic is refused.
- −1 takes this controller's defaults (KIP-464); a manual assignment requires both counts to be −1.
- No request makes more than 10,000 partitions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.cluster.controller.assignments import (
    new_partition,
    place,
    why_nobody_is_active,
    why_not_this_assignment,
)
from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, ApiError, Decision, Turn
from blumfeld.cluster.controller.elections import default_directory
from blumfeld.cluster.controller.topic_names import CLUSTER_METADATA_TOPIC, CollisionIndex, invalid_topic_name
from blumfeld.cluster.image.configs import ConfigResource
from blumfeld.cluster.image.topics import PartitionRegistration
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from blumfeld.protocol.messages.metadata_log import ConfigRecord, TopicRecord

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Record


class NewTopic(NamedTuple):
    """A topic that passed every test."""

    result: CreateTopicsResponse.Topic
    records: list[Record]


# CreateTopics (19)


def create_topics(turn: Turn, request: CreateTopicsRequest) -> Decision[CreateTopicsResponse]:
    """Create each topic that can be created; one that cannot is answered with its own error."""
    if _wanted_partitions(request, turn.settings.default_partitions) > MAX_RECORDS_PER_OPERATION:
        message = "Excessively large number of partitions per request."
        return Decision([], _all_refused(request, ErrorCode.POLICY_VIOLATION, message))
    creator = _TopicCreator(turn)
    results: list[CreateTopicsResponse.Topic] = []
    records: list[Record] = []
    counts = Counter(topic.name for topic in request.topics)
    for topic in request.topics:
        if counts[topic.name] > 1 or topic.name == CLUSTER_METADATA_TOPIC:
            continue
        made = creator.create(topic)
        if isinstance(made, ApiError):
            results.append(_refused(topic.name, made))
        else:
            results.append(made.result)
            records.extend(made.records)
    duplicate = ApiError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
    results.extend(_refused(name, duplicate) for name, count in counts.items() if count > 1)
    if counts[CLUSTER_METADATA_TOPIC] == 1:
        prohibited = f"Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited."
        results.append(_refused(CLUSTER_METADATA_TOPIC, ApiError(ErrorCode.INVALID_REQUEST, prohibited)))
    if request.validate_only:
        records = []
    return Decision(records, CreateTopicsResponse(topics=results))


def _wanted_partitions(request: CreateTopicsRequest, default: int) -> int:
    return sum(
        len(topic.assignments) or (default if topic.num_partitions == -1 else max(topic.num_partitions, 0))
        for topic in request.topics
    )


def _all_refused(request: CreateTopicsRequest, code: ErrorCode, message: str) -> CreateTopicsResponse:
    return CreateTopicsResponse(topics=[_refused(topic.name, ApiError(code, message)) for topic in request.topics])


def _refused(name: str, error: ApiError) -> CreateTopicsResponse.Topic:
    return CreateTopicsResponse.Topic(
        name=name, error_code=error.code, error_message=error.message, num_partitions=-1, replication_factor=-1
    )


class _TopicCreator:
    """Makes the records of several new topics; keeps what they share."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._cluster = turn.image.cluster
        self._collisions = CollisionIndex(turn.image.topics)
        self._directory_of = default_directory(self._cluster)
        self._descriptions: dict[tuple[tuple[str, str], ...], list[CreateTopicsResponse.Topic.Config]] = {}

    def create(self, topic: CreateTopicsRequest.Topic) -> NewTopic | ApiError:
        refusal = self._why_not_this_name(topic.name)
        if refusal is not None:
            return refusal
        configs = self._configs(topic)
        if isinstance(configs, ApiError):
            return configs
        partitions = self._manual(topic) if topic.assignments else self._placed(topic)
        if isinstance(partitions, ApiError):
            return partitions
        topic_id = self._turn.entropy.uuid()
        records: list[Record] = [TopicRecord(name=topic.name, topic_id=topic_id)]
        resource = ConfigResource.topic(topic.name)
        records.extend(
            ConfigRecord(resource_type=resource.type, resource_name=resource.name, name=name, value=value)
            for name, value in configs.items()
        )
        records.extend(partition.to_record(topic_id, index) for index, partition in enumerate(partitions))
        result = CreateTopicsResponse.Topic(
            name=topic.name,
            topic_id=topic_id,
            error_code=ErrorCode.NONE,
            error_message=None,
            num_partitions=len(partitions),
            replication_factor=len(partitions[0].replicas),
            configs=self._described(configs),
        )
        return NewTopic(result, records)

    def _described(self, configs: Mapping[str, str]) -> list[CreateTopicsResponse.Topic.Config]:
        """All configs of the new topic, as they are answered; those of equal topics are one list."""
        key = tuple(sorted(configs.items()))
        found = self._descriptions.get(key)
        if found is None:
            found = self._descriptions[key] = [
                CreateTopicsResponse.Topic.Config(
                    name=entry.name,
                    value=entry.value,
                    read_only=entry.read_only,
                    config_source=entry.source,
                    is_sensitive=entry.sensitive,
                )
                for entry in self._turn.settings.configs.describe_new_topic(self._turn.image, configs)
            ]
        return found

    def _why_not_this_name(self, name: str) -> ApiError | None:
        invalid = invalid_topic_name(name)
        if self._turn.image.topics.get(name) is not None:
            return ApiError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if invalid is not None:
            return ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid)
        colliding = self._collisions.colliding(name)
        if colliding is not None:
            message = f"Topic '{name}' collides with existing topic: {colliding}"
            return ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, message)
        return None

    def _configs(self, topic: CreateTopicsRequest.Topic) -> dict[str, str] | ApiError:
        configs = {config.name: config.value for config in topic.configs}
        nulls = [name for name, value in configs.items() if value is None]
        if nulls:
            message = f"Null value not supported for topic configs: {','.join(nulls)}"
            return ApiError(ErrorCode.INVALID_CONFIG, message)
        wanted = {name: value for name, value in configs.items() if value is not None}
        error = self._turn.settings.configs.validate(self._turn.image, ConfigResource.topic(topic.name), wanted)
        return error if error.is_failure else wanted

    def _placed(self, topic: CreateTopicsRequest.Topic) -> list[PartitionRegistration] | ApiError:
        if topic.replication_factor < -1 or topic.replication_factor == 0:
            return ApiError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        if topic.num_partitions < -1 or topic.num_partitions == 0:
            return ApiError(
                ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
            )
        settings = self._turn.settings
        count = settings.default_partitions if topic.num_partitions == -1 else topic.num_partitions
        factor = settings.default_replication_factor if topic.replication_factor == -1 else topic.replication_factor
        assignments = place(self._turn, count, factor)
        if isinstance(assignments, ApiError):
            message = f"Unable to replicate the partition {factor} time(s): {assignments.message}"
            return assignments._replace(message=message)
        return [self._registration(replicas) for replicas in assignments]

    def _manual(self, topic: CreateTopicsRequest.Topic) -> list[PartitionRegistration] | ApiError:
        if topic.replication_factor != -1:
            return ApiError(
                ErrorCode.INVALID_REQUEST,
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            )
        if topic.num_partitions != -1:
            return ApiError(
                ErrorCode.INVALID_REQUEST,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            )
        partitions: dict[int, PartitionRegistration] = {}
        factor: int | None = None
        for assignment in topic.assignments:
            index = assignment.partition_index
            if index in partitions:
                return ApiError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Found multiple manual partition assignments for partition {index}",
                )
            error = why_not_this_assignment(self._cluster, assignment.broker_ids, factor)
            error = error or why_nobody_is_active(self._cluster, assignment.broker_ids, index)
            if error is not None:
                return error
            factor = len(assignment.broker_ids)
            partitions[index] = self._registration(assignment.broker_ids)
        if sorted(partitions) != list(range(len(partitions))):
            return ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "partitions should be a consecutive 0-based integer sequence",
            )
        return [partitions[index] for index in range(len(partitions))]

    def _registration(self, replicas: Iterable[int]) -> PartitionRegistration:
        replicas = tuple(replicas)
        return new_partition(self._cluster, replicas, tuple(map(self._directory_of, replicas)))
