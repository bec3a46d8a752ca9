"""The quorum's requests and responses at the edge: which they are, whether they are for this cluster, what they say.

Owns the tables of the five request kinds and the checks before the core sees one: the cluster id, where it is given,
and the one partition there is. Refusals here are top-level errors, as in Apache Kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from blumfeld.cluster.raft import messages as core
from blumfeld.cluster.raft import rpc_elections, rpc_fetches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.begin_quorum_epoch import BeginQuorumEpochRequest, BeginQuorumEpochResponse
from blumfeld.protocol.messages.end_quorum_epoch import EndQuorumEpochRequest, EndQuorumEpochResponse
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.fetch_snapshot import FetchSnapshotRequest, FetchSnapshotResponse
from blumfeld.protocol.messages.vote import VoteRequest, VoteResponse
from blumfeld.protocol.schema import Request, Response


class _Kind(NamedTuple):
    """One request on both sides of the edge."""

    partition: Callable[[Any], Any | None]
    """The one partition that the wire's request is about, or None."""
    read: Callable[[Any, Any], core.Request]
    write_response: Callable[[Any, int], Response]
    refuse: Callable[[ErrorCode], Response]


def read_request(request: Request, cluster_id: str) -> core.Request | ErrorCode:
    """The core's request, or the top-level error that answers it."""
    theirs: str | None = getattr(request, "cluster_id", None)
    if theirs is not None and theirs != cluster_id:
        return ErrorCode.INCONSISTENT_CLUSTER_ID
    kind = _KINDS[type(request)]
    partition = kind.partition(request)
    if partition is None:
        return ErrorCode.INVALID_REQUEST
    return kind.read(request, partition)


def refuse(request: Request, error: ErrorCode) -> Response:
    """A response that says nothing but a top-level error."""
    return _KINDS[type(request)].refuse(error)


def write_response(request: Request, response: core.Response, version: int) -> Response:
    """The wire's response to `request`, which came in that version."""
    return _KINDS[type(request)].write_response(response, version)


def write_request(request: core.Request, cluster_id: str) -> Request:
    """The wire's request."""
    return _WRITERS[type(request)](request, cluster_id)


def read_response(response: Response, listener: str) -> core.Response:
    """The core's response; `listener` names the endpoint in it."""
    if isinstance(response, FetchResponse):
        return rpc_fetches.read_fetch_response(response, listener)
    if isinstance(response, FetchSnapshotResponse):
        return rpc_fetches.read_fetch_snapshot_response(response, listener)
    assert isinstance(response, VoteResponse | BeginQuorumEpochResponse | EndQuorumEpochResponse)
    answer: core.Response = rpc_elections.read_response(response, listener)
    return answer


def _election(read: Callable[[Any, Any], core.Request], kind: type[rpc_elections.Response]) -> _Kind:
    return _Kind(
        lambda request: rpc_elections.the_partition(request.topics),
        read,
        lambda response, version: rpc_elections.write_response(kind, response, with_endpoints=version >= 1),
        lambda error: kind(error_code=error, topics=[]),
    )


_KINDS: dict[type, _Kind] = {
    VoteRequest: _election(rpc_elections.read_vote, VoteResponse),
    BeginQuorumEpochRequest: _election(rpc_elections.read_begin, BeginQuorumEpochResponse),
    EndQuorumEpochRequest: _election(rpc_elections.read_end, EndQuorumEpochResponse),
    FetchRequest: _Kind(
        lambda request: rpc_fetches.fetched_partition(request.topics, "partition"),
        rpc_fetches.read_fetch,
        rpc_fetches.write_fetch_response,
        lambda error: FetchResponse(error_code=error, responses=[]),
    ),
    FetchSnapshotRequest: _Kind(
        lambda request: rpc_fetches.snapshot_partition(request.topics),
        rpc_fetches.read_fetch_snapshot,
        rpc_fetches.write_fetch_snapshot_response,
        lambda error: FetchSnapshotResponse(error_code=error, topics=[]),
    ),
}
_WRITERS: dict[type, Callable[[Any, str], Request]] = {
    core.VoteRequest: rpc_elections.write_vote,
    core.BeginQuorumEpochRequest: rpc_elections.write_begin,
    core.EndQuorumEpochRequest: rpc_elections.write_end,
    core.FetchRequest: rpc_fetches.write_fetch,
    core.FetchSnapshotRequest: rpc_fetches.write_fetch_snapshot,
}
