"""Fetch (key 1): read record batches, for consumers, followers and raft observers alike."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Int8, Int16, Int32, Int64, Records, String, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class FetchRequest(Request, key=ApiKey.FETCH, versions="4-18", flexible="12+"):
    """Ask for batches from an offset on; the order of partitions is the order in which they are served.

    Versions: 4 isolation level (KIP-98); 5 log start offset of a follower (KIP-107); 7 incremental sessions
    (KIP-227); 9 fencing by leader epoch (KIP-320); 10 zstd (KIP-110); 11 rack, for reading from the closest
    replica (KIP-392); 12 last fetched epoch and cluster id (KIP-595); 13 topic ids (KIP-516); 14 tiered
    storage (KIP-405); 15 replica state with broker epoch (KIP-903); 16 node endpoints in the response
    (KIP-951); 17 directory id of a raft replica (KIP-853); 18 the high watermark known to the replica
    (KIP-1166).
    """

    class ReplicaState(Struct):
        replica_id: Int32 = -1
        replica_epoch: Int64 = -1

    cluster_id: String | None = field(versions="12+", tag=0, default=None, ignorable=True)
    replica_id: Int32 = field(versions="4-14", default=-1)
    replica_state: ReplicaState = field(versions="15+", tag=1, default_factory=ReplicaState)
    max_wait_ms: Int32
    min_bytes: Int32
    max_bytes: Int32 = 0x7FFFFFFF
    isolation_level: Int8 = 0  # 0 read uncommitted, 1 read committed
    session_id: Int32 = field(versions="7+", default=0, ignorable=True)
    session_epoch: Int32 = field(versions="7+", default=-1, ignorable=True)  # -1 no session, 0 a new one
    topics: Array[Topic]
    forgotten_topics_data: Array[ForgottenTopic] = field(versions="7+", default=[])
    rack_id: String = field(versions="11+", default="", ignorable=True)

    class Topic(Struct):
        topic: String = field(versions="4-12", default="", ignorable=True)
        topic_id: Uuid = field(versions="13+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            partition: Int32
            current_leader_epoch: Int32 = field(versions="9+", default=-1, ignorable=True)
            fetch_offset: Int64
            last_fetched_epoch: Int32 = field(versions="12+", default=-1)
            log_start_offset: Int64 = field(versions="5+", default=-1, ignorable=True)
            partition_max_bytes: Int32
            replica_directory_id: Uuid = field(versions="17+", tag=0, default=ZERO_UUID, ignorable=True)
            high_watermark: Int64 = field(versions="18+", tag=1, default=2**63 - 1, ignorable=True)

    class ForgottenTopic(Struct):
        topic: String = field(versions="7-12", default="", ignorable=True)
        topic_id: Uuid = field(versions="13+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Int32]


class FetchResponse(Response, key=ApiKey.FETCH, versions="4-18", flexible="12+"):
    """Batches as they lie in the log.

    Beside them, how far they may be read, and whether truncation or another replica is needed.

    Versions: 4 last stable offset and aborted transactions (KIP-98); 5 log start offset; 7 session id
    (KIP-227); 11 preferred read replica (KIP-392); 12 divergence, leader and snapshot hints (KIP-595,
    KIP-630); 13 topic ids (KIP-516); 16 node endpoints (KIP-951).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = field(versions="7+", default=0, ignorable=True)
    session_id: Int32 = field(versions="7+", default=0)
    responses: Array[Topic]
    node_endpoints: Array[NodeEndpoint] = field(versions="16+", tag=0, default=[])

    class Topic(Struct):
        topic: String = field(versions="4-12", default="", ignorable=True)
        topic_id: Uuid = field(versions="13+", default=ZERO_UUID, ignorable=True)
        partitions: Array[Partition]

        class Partition(Struct):
            class EpochEndOffset(Struct):
                epoch: Int32 = -1
                end_offset: Int64 = -1

            class LeaderIdAndEpoch(Struct):
                leader_id: Int32 = -1
                leader_epoch: Int32 = -1

            class SnapshotId(Struct):
                end_offset: Int64 = -1
                epoch: Int32 = -1

            partition_index: Int32
            error_code: Int16
            high_watermark: Int64
            last_stable_offset: Int64 = -1
            log_start_offset: Int64 = field(versions="5+", default=-1, ignorable=True)
            diverging_epoch: EpochEndOffset = field(versions="12+", tag=0, default_factory=EpochEndOffset)
            current_leader: LeaderIdAndEpoch = field(versions="12+", tag=1, default_factory=LeaderIdAndEpoch)
            snapshot_id: SnapshotId = field(versions="12+", tag=2, default_factory=SnapshotId)
            aborted_transactions: Array[AbortedTransaction] | None
            preferred_read_replica: Int32 = field(versions="11+", default=-1)
            records: Records | None

            class AbortedTransaction(Struct):
                producer_id: Int64
                first_offset: Int64

    class NodeEndpoint(Struct):
        node_id: Int32
        host: String
        port: Int32
        rack: String | None = None
