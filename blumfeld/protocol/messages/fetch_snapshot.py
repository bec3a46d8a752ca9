"""FetchSnapshot (key 59): read a snapshot of a raft log in pieces (KIP-630)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, Records, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class FetchSnapshotRequest(Request, key=ApiKey.FETCH_SNAPSHOT, versions="0-1", flexible="0+"):
    """Position in the snapshot of the given end offset and epoch.

    Versions: 1 directory id of the replica (KIP-853).
    """

    cluster_id: String | None = field(tag=0, default=None)
    replica_id: Int32 = -1
    max_bytes: Int32 = 0x7FFFFFFF
    topics: Array[Topic]

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            partition: Int32
            current_leader_epoch: Int32
            snapshot_id: SnapshotId
            position: Int64
            replica_directory_id: Uuid = field(versions="1+", tag=0, default=ZERO_UUID, ignorable=True)

            class SnapshotId(Struct):
                end_offset: Int64
                epoch: Int32


class FetchSnapshotResponse(Response, key=ApiKey.FETCH_SNAPSHOT, versions="0-1", flexible="0+"):
    """A piece of the file, and its full size.

    Versions: 1 node endpoints (KIP-853).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    topics: Array[Topic]
    node_endpoints: Array[NodeEndpoint] = field(versions="1+", tag=0, default=[])

    class Topic(Struct):
        name: String
        partitions: Array[Partition]

        class Partition(Struct):
            class LeaderIdAndEpoch(Struct):
                leader_id: Int32 = 0
                leader_epoch: Int32 = 0

            index: Int32
            error_code: Int16
            snapshot_id: SnapshotId
            current_leader: LeaderIdAndEpoch = field(tag=0, default_factory=LeaderIdAndEpoch)
            size: Int64
            position: Int64
            unaligned_records: Records

            class SnapshotId(Struct):
                end_offset: Int64
                epoch: Int32

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: UInt16
