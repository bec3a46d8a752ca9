"""AssignReplicasToDirs (73): a broker says in which of its directories its replicas lie (KIP-858).

Invariant: a replica said to lie in a directory that is offline leaves ISR and leadership in the same decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.cluster.controller.brokers import check_broker_epoch
from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.cluster.controller.elections import (
    Placed,
    acceptable_leader,
    default_directory,
    leader_and_isr_updates,
)
from blumfeld.cluster.controller.partition_change import Target, change_partition
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
)

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Record

_Directory = AssignReplicasToDirsResponse.Directory
_Topic = AssignReplicasToDirsResponse.Directory.Topic
_Partition = AssignReplicasToDirsResponse.Directory.Topic.Partition


def assign_replicas_to_dirs(turn: Turn, request: AssignReplicasToDirsRequest) -> Decision[AssignReplicasToDirsResponse]:
    """Note where the asking broker's replicas lie."""
    stale = check_broker_epoch(turn, request.broker_id, request.broker_epoch)
    if stale:
        return Decision([], AssignReplicasToDirsResponse(error_code=stale, directories=[]))
    broker = turn.image.cluster.brokers[request.broker_id]
    records: list[Record] = []
    offline: list[Placed] = []
    directories: list[_Directory] = []
    for wanted in request.directories:
        is_online = broker.has_online_directory(wanted.id)
        topics: list[_Topic] = []
        for wanted_topic in wanted.topics:
            answers: list[_Partition] = []
            for asked in wanted_topic.partitions:
                found = _find(turn, request.broker_id, wanted_topic.topic_id, asked.partition_index)
                error = found if isinstance(found, ErrorCode) else ErrorCode.NONE
                answers.append(_Partition(partition_index=asked.partition_index, error_code=error))
                if isinstance(found, Placed):
                    _assign(turn, found, broker.id, wanted.id, records)
                    if not is_online:
                        offline.append(found)
            topics.append(_Topic(topic_id=wanted_topic.topic_id, partitions=answers))
        directories.append(_Directory(id=wanted.id, topics=topics))
    records.extend(leader_and_isr_updates(turn, offline, gone=broker.id))
    response = AssignReplicasToDirsResponse(error_code=ErrorCode.NONE, directories=directories)
    return Decision(records, response, atomic=False)


def _find(turn: Turn, broker_id: int, topic_id: bytes, index: int) -> Placed | ErrorCode:
    topic = turn.image.topics.get_by_id(topic_id)
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    partition = topic.partitions.get(index)
    if partition is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if broker_id not in partition.replicas:
        return ErrorCode.NOT_LEADER_OR_FOLLOWER
    return Placed(topic, index, partition)


def _assign(turn: Turn, placed: Placed, broker_id: int, directory: bytes, records: list[Record]) -> None:
    cluster = turn.image.cluster
    partition = placed.partition
    if cluster.brokers[broker_id].has_online_directory(directory):  # then it may lead from there, if nobody else does
        at = partition.replicas.index(broker_id)
        there = (*partition.directories[:at], directory, *partition.directories[at + 1 :])
        partition = partition._replace(directories=there)
    record = change_partition(
        placed.partition,
        placed.topic.id,
        placed.partition_id,
        Target(directories={broker_id: directory}),
        acceptable=acceptable_leader(cluster, partition),
        default_directory=default_directory(cluster),
    )
    if record is not None:
        records.append(record)
