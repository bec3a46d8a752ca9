"""UpdateRaftVoter (key 82): a voter's listeners and kraft.version range have changed (KIP-853)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, Int32, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class UpdateRaftVoterRequest(Request, key=ApiKey.UPDATE_RAFT_VOTER, versions="0", flexible="0+"):
    """What the voter is like now."""

    cluster_id: String | None
    current_leader_epoch: Int32
    voter_id: Int32
    voter_directory_id: Uuid
    listeners: Array[Listener]
    kraft_version_feature: KRaftVersionFeature

    class Listener(Struct):
        name: String
        host: String
        port: UInt16

    class KRaftVersionFeature(Struct):
        min_supported_version: Int16
        max_supported_version: Int16


class UpdateRaftVoterResponse(Response, key=ApiKey.UPDATE_RAFT_VOTER, versions="0", flexible="0+"):
    """Done, or why not, with the leader known."""

    class CurrentLeader(Struct):
        leader_id: Int32 = -1
        leader_epoch: Int32 = -1
        host: String = ""
        port: Int32 = 0

    throttle_time_ms: Int32 = 0
    error_code: Int16
    current_leader: CurrentLeader = field(tag=0, default_factory=CurrentLeader)
