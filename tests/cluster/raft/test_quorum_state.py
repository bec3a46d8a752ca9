"""The file `quorum-state`: what must never be forgotten."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.cluster.raft.quorum_state import CorruptQuorumStateError, ElectionState, decode, encode
from blumfeld.cluster.raft.voters import ReplicaKey

IDS = st.integers(0, 2**31 - 1)
STATES = st.builds(
    ElectionState,
    epoch=IDS,
    leader_id=st.none() | IDS,
    voted=st.none() | st.builds(ReplicaKey, IDS, st.binary(min_size=16, max_size=16)),
)


@given(STATES)
def test_what_is_written_is_read(state: ElectionState) -> None:
    assert decode(encode(state, kraft_version=1, voter_ids=[])) == state


@given(STATES)
def test_version_0_knows_no_directories(state: ElectionState) -> None:
    read = decode(encode(state, kraft_version=0, voter_ids=[1, 2]))
    assert read == state._replace(voted=state.voted and ReplicaKey(state.voted.id))


def test_the_form_is_kafkas() -> None:
    state = ElectionState(7, 2, ReplicaKey(3, bytes(16)))
    assert encode(state, kraft_version=1, voter_ids=[]) == (
        b'{"leaderId":2,"leaderEpoch":7,"votedId":3,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}'
    )
    assert json.loads(encode(ElectionState(7), kraft_version=0, voter_ids=[1, 2])) == {
        "clusterId": "",
        "leaderId": -1,
        "leaderEpoch": 7,
        "votedId": -1,
        "appliedOffset": 0,
        "currentVoters": [{"voterId": 1}, {"voterId": 2}],
        "data_version": 0,
    }


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"data_version":2,"leaderId":1,"leaderEpoch":1,"votedId":1}',
        b'{"data_version":1,"leaderId":1,"leaderEpoch":1,"votedId":1}',
        b'{"data_version":1,"leaderId":1,"leaderEpoch":1,"votedId":1,"votedDirectoryId":"x"}',
        b'{"data_version":0,"leaderId":"one","leaderEpoch":1,"votedId":1}',
    ],
)
def test_what_does_not_read_stops_the_replica(contents: bytes) -> None:
    with pytest.raises(CorruptQuorumStateError):
        decode(contents)
