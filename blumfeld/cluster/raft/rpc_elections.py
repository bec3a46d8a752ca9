"""Vote, BeginQuorumEpoch and EndQuorumEpoch between the wire's nested messages and the core's flat ones.

Owns the translation both ways. Nothing is decided here; what does not read as one of the quorum's requests is refused
by `rpc.py`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from blumfeld.cluster.raft import messages as core
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.begin_quorum_epoch import BeginQuorumEpochRequest, BeginQuorumEpochResponse
from blumfeld.protocol.messages.end_quorum_epoch import EndQuorumEpochRequest, EndQuorumEpochResponse
from blumfeld.protocol.messages.vote import VoteRequest, VoteResponse
from blumfeld.protocol.primitives import ZERO_UUID

TOPIC = "__cluster_metadata"
TOPIC_ID = bytes(15) + b"\x01"
NO_LEADER = -1

Response: TypeAlias = VoteResponse | BeginQuorumEpochResponse | EndQuorumEpochResponse


def the_partition(topics: list[Any], name: str = "topic_name", index: str = "partition_index") -> Any | None:
    """The one partition a request or response of the quorum is about; None where it is about anything else."""
    if len(topics) != 1 or getattr(topics[0], name) != TOPIC:
        return None
    partitions = topics[0].partitions
    return partitions[0] if len(partitions) == 1 and getattr(partitions[0], index) == 0 else None


def voter_key(voter_id: int, directory_id: bytes) -> ReplicaKey | None:
    """The voter a request is meant for, where it says so."""
    return ReplicaKey(voter_id, directory_id) if voter_id >= 0 else None


def endpoints_of(named: list[Any]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(end.name, end.host, end.port) for end in named)


def leader_endpoints(node_endpoints: list[Any], leader_id: int, listener: str) -> tuple[Endpoint, ...]:
    """The leader's address in a response, which does not name the listener: it is the one that was asked."""
    return tuple(Endpoint(listener, node.host, node.port) for node in node_endpoints if node.node_id == leader_id)


def node_endpoints(response: core.Response, node: type[Any]) -> list[Any]:
    """The leader's address for a response."""
    if response.leader_id is None or not response.endpoints:
        return []
    endpoint = response.endpoints[0]
    return [node(node_id=response.leader_id, host=endpoint.host, port=endpoint.port)]


def leader_id_of(value: int) -> int | None:
    return value if value >= 0 else None


# ---------------------------------------------------------------- requests, read and written


def read_vote(request: VoteRequest, partition: VoteRequest.Topic.Partition) -> core.VoteRequest:
    return core.VoteRequest(
        epoch=partition.replica_epoch,
        candidate=ReplicaKey(partition.replica_id, partition.replica_directory_id),
        last_offset=partition.last_offset,
        last_epoch=partition.last_offset_epoch,
        pre_vote=partition.pre_vote,
        voter=voter_key(request.voter_id, partition.voter_directory_id),
    )


def write_vote(request: core.VoteRequest, cluster_id: str) -> VoteRequest:
    voter = request.voter or ReplicaKey(-1)
    partition = VoteRequest.Topic.Partition(
        partition_index=0,
        replica_epoch=request.epoch,
        replica_id=request.candidate.id,
        replica_directory_id=request.candidate.directory_id,
        voter_directory_id=voter.directory_id,
        last_offset_epoch=request.last_epoch,
        last_offset=request.last_offset,
        pre_vote=request.pre_vote,
    )
    topic = VoteRequest.Topic(topic_name=TOPIC, partitions=[partition])
    return VoteRequest(cluster_id=cluster_id, voter_id=voter.id, topics=[topic])


def read_begin(
    request: BeginQuorumEpochRequest, partition: BeginQuorumEpochRequest.Topic.Partition
) -> core.BeginQuorumEpochRequest:
    return core.BeginQuorumEpochRequest(
        epoch=partition.leader_epoch,
        leader_id=partition.leader_id,
        endpoints=endpoints_of(request.leader_endpoints),
        voter=voter_key(request.voter_id, partition.voter_directory_id),
    )


def write_begin(request: core.BeginQuorumEpochRequest, cluster_id: str) -> BeginQuorumEpochRequest:
    voter = request.voter or ReplicaKey(-1)
    partition = BeginQuorumEpochRequest.Topic.Partition(
        partition_index=0,
        voter_directory_id=voter.directory_id,
        leader_id=request.leader_id,
        leader_epoch=request.epoch,
    )
    endpoint = BeginQuorumEpochRequest.LeaderEndpoint
    return BeginQuorumEpochRequest(
        cluster_id=cluster_id,
        voter_id=voter.id,
        topics=[BeginQuorumEpochRequest.Topic(topic_name=TOPIC, partitions=[partition])],
        leader_endpoints=[endpoint(name=end.name, host=end.host, port=end.port) for end in request.endpoints],
    )


def read_end(
    request: EndQuorumEpochRequest, partition: EndQuorumEpochRequest.Topic.Partition
) -> core.EndQuorumEpochRequest:
    preferred = [
        ReplicaKey(candidate.candidate_id, candidate.candidate_directory_id)
        for candidate in partition.preferred_candidates
    ]
    return core.EndQuorumEpochRequest(
        epoch=partition.leader_epoch,
        leader_id=partition.leader_id,
        endpoints=endpoints_of(request.leader_endpoints),
        preferred=tuple(preferred or [ReplicaKey(node_id) for node_id in partition.preferred_successors]),
    )


def write_end(request: core.EndQuorumEpochRequest, cluster_id: str) -> EndQuorumEpochRequest:
    candidate = EndQuorumEpochRequest.Topic.Partition.PreferredCandidate
    partition = EndQuorumEpochRequest.Topic.Partition(
        partition_index=0,
        leader_id=request.leader_id,
        leader_epoch=request.epoch,
        preferred_successors=[key.id for key in request.preferred],
        preferred_candidates=[
            candidate(candidate_id=key.id, candidate_directory_id=key.directory_id or ZERO_UUID)
            for key in request.preferred
        ],
    )
    endpoint = EndQuorumEpochRequest.LeaderEndpoint
    return EndQuorumEpochRequest(
        cluster_id=cluster_id,
        topics=[EndQuorumEpochRequest.Topic(topic_name=TOPIC, partitions=[partition])],
        leader_endpoints=[endpoint(name=end.name, host=end.host, port=end.port) for end in request.endpoints],
    )


# ---------------------------------------------------------------- responses


def write_response(kind: type[Any], response: core.Response, *, with_endpoints: bool) -> Response:
    """A response of the three, from the core's; version 0 knows no endpoints."""
    fields: dict[str, Any] = {
        "partition_index": 0,
        "error_code": response.error,
        "leader_id": NO_LEADER if response.leader_id is None else response.leader_id,
        "leader_epoch": response.epoch,
    }
    if isinstance(response, core.VoteResponse):
        fields["vote_granted"] = response.granted
    topic = kind.Topic(topic_name=TOPIC, partitions=[kind.Topic.Partition(**fields)])
    endpoints = node_endpoints(response, kind.NodeEndpoint) if with_endpoints else []
    message: Response = kind(error_code=ErrorCode.NONE, topics=[topic], node_endpoints=endpoints)
    return message


def read_response(response: Response, listener: str) -> Any:
    """The core's response; one that carries a top-level error, or another partition, has epoch −1."""
    kind = _CORE_RESPONSES[type(response)]
    partition = the_partition(response.topics)
    if response.error_code or partition is None:
        return kind(ErrorCode(response.error_code or ErrorCode.INVALID_REQUEST), -1, None)
    fields: dict[str, Any] = {
        "error": ErrorCode(partition.error_code),
        "epoch": partition.leader_epoch,
        "leader_id": leader_id_of(partition.leader_id),
        "endpoints": leader_endpoints(response.node_endpoints, partition.leader_id, listener),
    }
    if isinstance(response, VoteResponse):
        fields["granted"] = partition.vote_granted
    return kind(**fields)


_CORE_RESPONSES: dict[type, type[Any]] = {
    VoteResponse: core.VoteResponse,
    BeginQuorumEpochResponse: core.BeginQuorumEpochResponse,
    EndQuorumEpochResponse: core.EndQuorumEpochResponse,
}
