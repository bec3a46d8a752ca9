"""RemoveRaftVoter (key 81): a voter becomes an observer or goes (KIP-853)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Int16, Int32, String, Uuid
from blumfeld.protocol.schema import Request, Response


class RemoveRaftVoterRequest(Request, key=ApiKey.REMOVE_RAFT_VOTER, versions="0", flexible="0+"):
    """The voter's id and directory."""

    cluster_id: String | None
    voter_id: Int32
    voter_directory_id: Uuid


class RemoveRaftVoterResponse(Response, key=ApiKey.REMOVE_RAFT_VOTER, versions="0", flexible="0+"):
    """Done, or why not."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
