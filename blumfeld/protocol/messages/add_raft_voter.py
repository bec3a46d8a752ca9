"""AddRaftVoter (key 80): a replica becomes a voter (KIP-853)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class AddRaftVoterRequest(Request, key=ApiKey.ADD_RAFT_VOTER, versions="0-1", flexible="0+"):
    """The new voter's id, directory and listeners.

    Versions: 1 answer when the change is written or only when it is committed (KIP-1186).
    """

    cluster_id: String | None
    timeout_ms: Int32
    voter_id: Int32
    voter_directory_id: Uuid
    listeners: Array[Listener]
    ack_when_committed: Bool = field(versions="1+", default=True)

    class Listener(Struct):
        name: String
        host: String
        port: UInt16


class AddRaftVoterResponse(Response, key=ApiKey.ADD_RAFT_VOTER, versions="0-1", flexible="0+"):
    """Done, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
