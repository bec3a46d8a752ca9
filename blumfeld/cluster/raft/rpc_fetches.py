"""Fetch and FetchSnapshot of the metadata partition, between the wire's messages and the core's.

Owns the translation both ways. A fetch names the topic by id from version 13 on, the replica in one of two places
(KIP-903), and says from version 18 on which high watermark it knows (KIP-1166).
"""

from __future__ import annotations

from typing import Any

from blumfeld.cluster.raft import messages as core
from blumfeld.cluster.raft.batches import inspect
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.rpc_elections import (
    NO_LEADER,
    TOPIC,
    TOPIC_ID,
    leader_endpoints,
    leader_id_of,
    node_endpoints,
    the_partition,
)
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey
from blumfeld.protocol.batch import CorruptBatch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.fetch_snapshot import FetchSnapshotRequest, FetchSnapshotResponse

FIRST_VERSION_WITH_ENDPOINTS = 16
_MAX_INT32 = 0x7FFF_FFFF


def fetched_partition(topics: list[Any], index: str) -> Any | None:
    """The one partition of a fetch or its answer, by id or by name; None where it is another."""
    if len(topics) != 1 or (topics[0].topic_id != TOPIC_ID and topics[0].topic != TOPIC):
        return None
    partitions = topics[0].partitions
    return partitions[0] if len(partitions) == 1 and getattr(partitions[0], index) == 0 else None


def read_fetch(request: FetchRequest, partition: FetchRequest.Topic.Partition) -> core.FetchRequest:
    replica_id = request.replica_state.replica_id if request.replica_id < 0 else request.replica_id
    return core.FetchRequest(
        epoch=partition.current_leader_epoch,
        replica=ReplicaKey(replica_id, partition.replica_directory_id),
        offset=partition.fetch_offset,
        last_epoch=partition.last_fetched_epoch,
        max_wait_ms=request.max_wait_ms,
        max_bytes=request.max_bytes,
        high_watermark=partition.high_watermark,
    )


def write_fetch(request: core.FetchRequest, cluster_id: str) -> FetchRequest:
    partition = FetchRequest.Topic.Partition(
        partition=0,
        current_leader_epoch=request.epoch,
        fetch_offset=request.offset,
        last_fetched_epoch=request.last_epoch,
        partition_max_bytes=request.max_bytes,
        replica_directory_id=request.replica.directory_id,
        high_watermark=request.high_watermark,
    )
    return FetchRequest(
        cluster_id=cluster_id,
        replica_state=FetchRequest.ReplicaState(replica_id=request.replica.id),
        max_wait_ms=request.max_wait_ms,
        min_bytes=0,
        max_bytes=request.max_bytes,
        topics=[FetchRequest.Topic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
    )


def write_fetch_response(response: core.FetchResponse, version: int) -> FetchResponse:
    kind = FetchResponse.Topic.Partition
    partition = kind(
        partition_index=0,
        error_code=response.error,
        high_watermark=response.high_watermark,
        log_start_offset=response.log_start_offset,
        current_leader=kind.LeaderIdAndEpoch(
            leader_id=NO_LEADER if response.leader_id is None else response.leader_id, leader_epoch=response.epoch
        ),
        aborted_transactions=None,
        records=response.records,
    )
    if response.diverging is not None:
        offset, epoch = response.diverging
        partition.diverging_epoch = kind.EpochEndOffset(epoch=epoch, end_offset=offset)
    if response.snapshot is not None:
        offset, epoch = response.snapshot
        partition.snapshot_id = kind.SnapshotId(end_offset=offset, epoch=epoch)
    with_endpoints = version >= FIRST_VERSION_WITH_ENDPOINTS
    return FetchResponse(
        responses=[FetchResponse.Topic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
        node_endpoints=node_endpoints(response, FetchResponse.NodeEndpoint) if with_endpoints else [],
    )


def read_fetch_response(response: FetchResponse, listener: str) -> core.FetchResponse:
    """The core's response, its batches looked into as far as they read."""
    partition = fetched_partition(response.responses, "partition_index")
    if response.error_code or partition is None:
        return core.FetchResponse(ErrorCode(response.error_code or ErrorCode.INVALID_REQUEST), -1, None)
    records = partition.records or b""
    batches: list[core.BatchInfo] = []
    error = ErrorCode(partition.error_code)
    try:
        batches.extend(inspect(records))
    except CorruptBatch:
        error = error or (ErrorCode.NONE if batches else ErrorCode.CORRUPT_MESSAGE)
    leader = partition.current_leader
    diverging, snapshot = partition.diverging_epoch, partition.snapshot_id
    return core.FetchResponse(
        error=error,
        epoch=leader.leader_epoch,
        leader_id=leader_id_of(leader.leader_id),
        endpoints=leader_endpoints(response.node_endpoints, leader.leader_id, listener),
        high_watermark=partition.high_watermark,
        log_start_offset=partition.log_start_offset,
        diverging=OffsetAndEpoch(diverging.end_offset, diverging.epoch) if diverging.epoch >= 0 else None,
        snapshot=OffsetAndEpoch(snapshot.end_offset, snapshot.epoch) if snapshot.epoch >= 0 else None,
        batches=tuple(batches),
        records=records,
    )


def snapshot_partition(topics: list[Any]) -> Any | None:
    return the_partition(topics, "name", "partition")


def read_fetch_snapshot(
    request: FetchSnapshotRequest, partition: FetchSnapshotRequest.Topic.Partition
) -> core.FetchSnapshotRequest:
    id_ = OffsetAndEpoch(partition.snapshot_id.end_offset, partition.snapshot_id.epoch)
    return core.FetchSnapshotRequest(
        epoch=partition.current_leader_epoch,
        replica=ReplicaKey(request.replica_id, partition.replica_directory_id),
        id=id_,
        position=partition.position,
        max_bytes=request.max_bytes,
    )


def write_fetch_snapshot(request: core.FetchSnapshotRequest, cluster_id: str) -> FetchSnapshotRequest:
    kind = FetchSnapshotRequest.Topic.Partition
    partition = kind(
        partition=0,
        current_leader_epoch=request.epoch,
        snapshot_id=kind.SnapshotId(end_offset=request.id.offset, epoch=request.id.epoch),
        position=request.position,
        replica_directory_id=request.replica.directory_id,
    )
    return FetchSnapshotRequest(
        cluster_id=cluster_id,
        replica_id=request.replica.id,
        max_bytes=min(request.max_bytes, _MAX_INT32),
        topics=[FetchSnapshotRequest.Topic(name=TOPIC, partitions=[partition])],
    )


def write_fetch_snapshot_response(response: core.FetchSnapshotResponse, version: int) -> FetchSnapshotResponse:
    kind = FetchSnapshotResponse.Topic.Partition
    id_ = response.id or OffsetAndEpoch(-1, -1)
    partition = kind(
        index=0,
        error_code=response.error,
        snapshot_id=kind.SnapshotId(end_offset=id_.offset, epoch=id_.epoch),
        current_leader=kind.LeaderIdAndEpoch(
            leader_id=NO_LEADER if response.leader_id is None else response.leader_id, leader_epoch=response.epoch
        ),
        size=response.size,
        position=response.position,
        unaligned_records=response.data,
    )
    return FetchSnapshotResponse(
        error_code=ErrorCode.NONE,
        topics=[FetchSnapshotResponse.Topic(name=TOPIC, partitions=[partition])],
        node_endpoints=node_endpoints(response, FetchSnapshotResponse.NodeEndpoint) if version >= 1 else [],
    )


def read_fetch_snapshot_response(response: FetchSnapshotResponse, listener: str) -> core.FetchSnapshotResponse:
    partition = the_partition(response.topics, "name", "index")
    if response.error_code or partition is None:
        return core.FetchSnapshotResponse(ErrorCode(response.error_code or ErrorCode.INVALID_REQUEST), -1, None)
    leader = partition.current_leader
    endpoints: tuple[Endpoint, ...] = leader_endpoints(response.node_endpoints, leader.leader_id, listener)
    id_ = partition.snapshot_id
    return core.FetchSnapshotResponse(
        error=ErrorCode(partition.error_code),
        epoch=leader.leader_epoch,
        leader_id=leader_id_of(leader.leader_id),
        endpoints=endpoints,
        id=OffsetAndEpoch(id_.end_offset, id_.epoch) if id_.epoch >= 0 else None,
        size=partition.size,
        position=partition.position,
        data=partition.unaligned_records,
    )
