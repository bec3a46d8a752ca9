"""DescribeQuorum: the quorum as its leader sees it (KIP-595, KIP-836, KIP-853).

Owns the response. Diagnostic only: replicas find their leader by fetching.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.cluster.raft.replication import forget_observers
from blumfeld.cluster.raft.roles import Leader, Progress
from blumfeld.cluster.raft.rpc_elections import the_partition
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest, DescribeQuorumResponse

if TYPE_CHECKING:
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.voters import ReplicaKey

_Topic = DescribeQuorumResponse.Topic
_Partition = DescribeQuorumResponse.Topic.Partition
_ReplicaState = DescribeQuorumResponse.Topic.Partition.ReplicaState
_Node = DescribeQuorumResponse.Node


def describe_quorum(
    core: RaftCore, request: DescribeQuorumRequest, version: int, wall_ms: Callable[[float], int]
) -> DescribeQuorumResponse:
    """`wall_ms` turns the core's time into the wall clock's. Only the leader knows; others refuse."""
    if the_partition(request.topics) is None:
        return _refusals(request, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    role = core.role
    if not isinstance(role, Leader):
        return _refusals(request, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    forget_observers(core, role)
    voters = core.log.voters

    def state(key: ReplicaKey, progress: Progress | None) -> _ReplicaState:
        if core.is_me(key):
            end, fetched, caught_up = core.log.end_offset, -1.0, core.now
        elif progress is None:
            end, fetched, caught_up = -1, -1.0, -1.0
        else:
            end, fetched, caught_up = progress.end_offset, progress.last_fetch, progress.last_caught_up
        described = _ReplicaState(
            replica_id=key.id,
            log_end_offset=end,
            last_fetch_timestamp=wall_ms(fetched) if fetched >= 0 else -1,
            last_caught_up_timestamp=wall_ms(caught_up) if caught_up >= 0 else -1,
        )
        if version >= 2:
            described.replica_directory_id = key.directory_id
        return described

    partition = _Partition(
        partition_index=0,
        error_code=ErrorCode.NONE,
        leader_id=role.leader_id,
        leader_epoch=role.epoch,
        high_watermark=-1 if role.high_watermark is None else role.high_watermark,
        current_voters=[state(voter.key, role.voters.get(voter.id)) for voter in voters],
        observers=[state(key, progress) for key, progress in role.observers.items()],
    )
    response = DescribeQuorumResponse(
        error_code=ErrorCode.NONE, topics=[_Topic(topic_name=request.topics[0].topic_name, partitions=[partition])]
    )
    if version >= 2:
        response.nodes = [
            _Node(
                node_id=voter.id,
                listeners=[_Node.Listener(name=end.name, host=end.host, port=end.port) for end in voter.endpoints],
            )
            for voter in voters
        ]
    return response


def _refusals(request: DescribeQuorumRequest, error: ErrorCode) -> DescribeQuorumResponse:
    """Each partition that was asked for, refused."""
    return DescribeQuorumResponse(
        error_code=ErrorCode.NONE,
        topics=[
            _Topic(
                topic_name=topic.topic_name,
                partitions=[
                    _Partition(
                        partition_index=partition.partition_index,
                        error_code=error,
                        error_message=error.text,
                        leader_id=0,
                        leader_epoch=0,
                        high_watermark=0,
                        current_voters=[],
                        observers=[],
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
