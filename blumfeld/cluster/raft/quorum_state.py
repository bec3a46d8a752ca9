"""What a replica must never forget: its epoch, its vote in it, and the leader it knew. The file `quorum-state`.

Owns the durable election state and its JSON form: one line, `data_version` 0 (kraft.version 0) or 1. Invariant: what
was answered to a vote request is on disk before the answer leaves; the driver sees to it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from blumfeld.cluster.raft.voters import ReplicaKey
from blumfeld.protocol.primitives import ZERO_UUID, uuid_from_text, uuid_to_text

FILE_NAME = "quorum-state"


class CorruptQuorumStateError(Exception):
    """The file is not a quorum-state that we know: the replica must not start, it could vote twice."""


class ElectionState(NamedTuple):
    """Epoch, leader and vote."""

    epoch: int = 0
    leader_id: int | None = None
    voted: ReplicaKey | None = None


def encode(state: ElectionState, *, kraft_version: int, voter_ids: list[int]) -> bytes:
    """The file's contents; data_version 0 where the quorum's kraft.version is 0."""
    data: dict[str, Any]
    leader_id = -1 if state.leader_id is None else state.leader_id
    voted = state.voted or ReplicaKey(-1)
    if kraft_version == 0:
        data = {
            "clusterId": "",
            "leaderId": leader_id,
            "leaderEpoch": state.epoch,
            "votedId": voted.id,
            "appliedOffset": 0,
            "currentVoters": [{"voterId": voter_id} for voter_id in voter_ids],
            "data_version": 0,
        }
    else:
        data = {
            "leaderId": leader_id,
            "leaderEpoch": state.epoch,
            "votedId": voted.id,
            "votedDirectoryId": uuid_to_text(voted.directory_id),
            "data_version": 1,
        }
    return json.dumps(data, separators=(",", ":")).encode()


def decode(contents: bytes) -> ElectionState:
    """Raises CorruptQuorumStateError."""
    try:
        data = json.loads(contents)
        version = data["data_version"]
        if version not in (0, 1):
            raise CorruptQuorumStateError(f"data_version {version} of quorum-state is unknown")
        epoch, leader_id, voted_id = (int(data[name]) for name in ("leaderEpoch", "leaderId", "votedId"))
        directory_id = uuid_from_text(data["votedDirectoryId"]) if version == 1 else ZERO_UUID
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptQuorumStateError(f"quorum-state does not read: {contents[:200]!r}") from error
    return ElectionState(
        epoch=epoch,
        leader_id=None if leader_id < 0 else leader_id,
        voted=None if voted_id < 0 else ReplicaKey(voted_id, directory_id),
    )
