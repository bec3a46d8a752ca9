"""Voter sets, and votes among them."""

from __future__ import annotations

import pytest

from blumfeld.cluster.raft.messages import BeginQuorumEpochRequest
from blumfeld.cluster.raft.peers import Peers
from blumfeld.cluster.raft.roles import Ballots
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from tests.cluster.raft.quorum import endpoint_of, key_of, voters_of

REQUEST = BeginQuorumEpochRequest(1, 1)


def test_a_voter_is_its_id_and_its_directory() -> None:
    voters = voters_of(1, 2, 3)
    assert key_of(2) in voters
    assert ReplicaKey(2, b"another directory"[:16]) not in voters
    assert key_of(4) not in voters


def test_a_static_voter_is_its_id() -> None:
    voters = VoterSet([Voter(ReplicaKey(1), (endpoint_of(1),))])
    assert ReplicaKey(1, b"whatever it may be"[:16]) in voters
    assert voters.is_only(ReplicaKey(1, b"whatever it may be"[:16]))


@pytest.mark.parametrize(("size", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_majorities(size: int, majority: int) -> None:
    assert voters_of(*range(size)).majority == majority


def test_a_set_is_replaced_not_changed() -> None:
    voters = voters_of(1, 2)
    more = voters.with_voter(Voter(key_of(3), (endpoint_of(3),)))
    assert sorted(voters.ids) == [1, 2]
    assert sorted(more.ids) == [1, 2, 3]
    moved = Voter(key_of(1), (Endpoint("OTHER", "elsewhere", 1),))
    assert voters.with_voter(moved).get(1) == moved
    assert voters == voters_of(2, 1)
    assert hash(voters) == hash(voters_of(2, 1))
    assert voters != more


def test_an_election_is_won_by_a_majority_and_lost_when_none_is_left() -> None:
    ballots = Ballots(voters_of(1, 2, 3, 4, 5), {1})
    ballots.count(2, granted=False)
    ballots.count(3, granted=False)
    assert (ballots.is_won, ballots.is_lost) == (False, False)
    assert [ballots.is_open(voter) for voter in (1, 2, 4)] == [False, False, True]
    for voter in (4, 5):
        ballots.count(voter, granted=True)
    assert _won(ballots)


def _won(ballots: Ballots) -> bool:
    return ballots.is_won


def _lost(ballots: Ballots) -> bool:
    return ballots.is_lost


def test_who_is_gone_counts_against_it_once_somebody_has_said_no() -> None:
    ballots = Ballots(voters_of(1, 2, 3), {1})
    ballots.unreachable.update({2, 3})
    assert not _won(ballots)
    assert not _lost(ballots)
    ballots.count(2, granted=False)
    assert _lost(ballots)
    ballots.count(3, granted=True)
    assert ballots.granted == {1, 3}
    assert _won(ballots)


def test_one_request_at_a_time_to_each_peer() -> None:
    peers = Peers(20)
    first = peers.sent(1, REQUEST, 100)
    assert not peers.is_ready(1, 0)
    assert peers.is_ready(2, 0)
    assert peers.answered(first + 1) is None
    in_flight = peers.answered(first)
    assert in_flight is not None
    assert in_flight.request == REQUEST
    assert peers.answered(first) is None
    assert peers.is_ready(1, 0)


def test_failures_lengthen_the_pause_up_to_a_limit() -> None:
    peers = Peers(20)
    pauses = []
    for _ in range(7):
        peers.failed(1, 1_000)
        pauses.append(peers.next_deadline(1_000) - 1_000)
    assert pauses == [20, 40, 60, 80, 100, 100, 100]
    assert peers.is_pausing(1, 1_099)
    assert not peers.is_pausing(1, 1_100)
    peers.succeeded(1)
    peers.failed(1, 2_000)
    assert peers.next_deadline(2_000) == 2_020


def test_what_takes_too_long_is_given_up() -> None:
    peers = Peers(20)
    sent = peers.sent(1, REQUEST, 100)
    peers.shift(50)
    peers.expire(149)
    assert not peers.is_ready(1, 149)
    peers.expire(150)
    assert peers.answered(sent) is None
    assert peers.is_pausing(1, 151)
