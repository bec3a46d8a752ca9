"""Elections: who asks, who is asked, who wins, and what is remembered of it."""

from __future__ import annotations

import pytest

from blumfeld.cluster.raft.events import Failed, Failure, PersistElection, Reply
from blumfeld.cluster.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    FetchRequest,
    VoteRequest,
    VoteResponse,
)
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.roles import Candidate, Follower, Leader, Prospective, Resigned, Unattached
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey
from blumfeld.protocol.errors import ErrorCode
from tests.cluster.raft.quorum import LISTENER, Quorum, endpoint_of, key_of


def vote(epoch: int, candidate: int, *, offset: int = 0, last_epoch: int = 0, pre_vote: bool = False) -> VoteRequest:
    return VoteRequest(epoch, key_of(candidate), offset, last_epoch, pre_vote)


def test_a_quorum_of_one_leads_at_once(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    assert only.is_a(Leader)
    assert only.core.epoch == 1
    assert only.core.high_watermark == only.core.log.end_offset == 3  # LeaderChange, KRaftVersion, Voters
    assert only.sent == []


def test_a_quorum_of_one_wakes_for_nothing(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    assert only.core.next_deadline == float("inf")


def test_a_quorum_of_one_that_restarts_leads_a_new_epoch(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    only.append("a")
    only.restart()
    assert only.is_a(Leader)
    assert (only.core.epoch, only.committed) == (2, ["a"])
    assert len(only.core.log.epochs) == 2


def test_voters_that_start_ask_around_within_a_moment(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.advance(quorum.options.startup_election_timeout_ms)
    assert all(node.is_a(Prospective) for node in (one, two, three))
    assert one.core.epoch == 0
    assert one.persisted is None or one.persisted == ElectionState()


def test_who_times_out_asks_first_then_stands_then_leads(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    one.forget().time_out()
    assert one.is_a(Prospective)
    one.assert_sent(VoteRequest, epoch=0, pre_vote=True)
    quorum.deliver(one, to=two)
    two.assert_sent(VoteResponse, granted=True, epoch=0)
    quorum.deliver(two, to=one)
    assert one.is_a(Candidate)
    assert one.persisted == ElectionState(1, None, key_of(1))
    one.assert_sent(VoteRequest, epoch=1, pre_vote=False)
    quorum.deliver(one, to=three)
    three.assert_sent(VoteResponse, granted=True, epoch=1)
    assert three.persisted == ElectionState(1, None, key_of(1))
    quorum.deliver(three, to=one)
    assert one.is_a(Leader)
    assert one.persisted == ElectionState(1, 1, key_of(1))
    one.assert_sent(BeginQuorumEpochRequest, epoch=1, leader_id=1, endpoints=(endpoint_of(1),))


def test_a_vote_is_on_disk_before_it_is_told(quorum: Quorum) -> None:
    _, two, _ = quorum.of(3)
    two.forget().receive(vote(1, 1))
    kinds = [type(effect) for effect in two.effects]
    assert kinds.index(PersistElection) < kinds.index(Reply)


def test_one_vote_an_epoch(quorum: Quorum) -> None:
    _, two, _ = quorum.of(3)
    assert two.receive(vote(1, 1)).granted
    assert not two.receive(vote(1, 3)).granted
    assert two.receive(vote(1, 1)).granted  # a repeated request gets the same answer
    assert two.receive(vote(2, 3)).granted


def test_a_vote_survives_a_restart(quorum: Quorum) -> None:
    _, two, _ = quorum.of(3)
    assert two.receive(vote(1, 1)).granted
    two.restart()
    assert not two.receive(vote(1, 3)).granted


def test_a_candidate_that_restarts_stands_in_no_epoch_twice(quorum: Quorum) -> None:
    one, two, _ = quorum.of(3)
    quorum.parcels.clear()
    one.time_out()
    quorum.deliver(one, to=two)
    quorum.deliver(two, to=one)
    assert one.is_a(Candidate)
    one.restart()
    assert one.is_a(Unattached)
    assert not one.receive(vote(1, 3)).granted
    one.time_out()
    quorum.deliver()
    assert one.is_a(Leader)
    assert one.core.epoch == 2


def test_a_leader_that_restarts_leads_no_more(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.restart()
    assert leader.is_a(Unattached)
    assert not leader.receive(vote(1, 2)).granted
    quorum.advance(quorum.options.retry_backoff_ms)
    quorum.deliver()
    assert follower.as_a(Follower).suspected
    leader.time_out()
    quorum.deliver()
    assert leader.is_a(Leader)
    assert {node.core.epoch for node in quorum} == {2}
    assert other.id == 3


def test_a_follower_that_restarts_goes_on_following(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    assert follower.is_a(Follower)
    follower.assert_sent(FetchRequest, epoch=1, offset=3, last_epoch=1)


@pytest.mark.parametrize(
    ("offset", "last_epoch", "granted"),
    [(3, 1, True), (4, 1, True), (2, 1, False), (9, 0, False), (0, 0, False)],
)
def test_votes_go_to_logs_that_are_up_to_date(quorum: Quorum, offset: int, last_epoch: int, granted: bool) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    response = follower.receive(vote(2, 3, offset=offset, last_epoch=last_epoch))
    assert response.granted is granted
    assert response.epoch == 2


def test_a_leader_grants_nothing_in_its_epoch_and_gives_way_to_a_higher_one(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    assert not leader.receive(vote(1, 2, offset=9, last_epoch=0)).granted
    assert leader.is_a(Leader)
    assert leader.receive(vote(2, 2, offset=9, last_epoch=1)).granted
    assert leader.is_a(Unattached)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (vote(2, 3)._replace(candidate=ReplicaKey(-1)), ErrorCode.INVALID_REQUEST),
        (vote(2, 3, offset=-1), ErrorCode.INVALID_REQUEST),
        (vote(2, 3, last_epoch=2), ErrorCode.INVALID_REQUEST),
        (vote(2, 3, last_epoch=-1), ErrorCode.INVALID_REQUEST),
        (vote(2, 3, last_epoch=3, pre_vote=True), ErrorCode.INVALID_REQUEST),
        (vote(2, 3)._replace(voter=ReplicaKey(2, bytes(15) + b"x")), ErrorCode.INVALID_VOTER_KEY),
        (vote(2, 3)._replace(voter=ReplicaKey(1)), ErrorCode.INVALID_VOTER_KEY),
    ],
)
def test_requests_that_cannot_be_granted(quorum: Quorum, request_: VoteRequest, error: ErrorCode) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    response = follower.receive(request_)
    assert (response.error, response.granted) == (error, False)


def test_a_candidate_of_an_old_epoch_is_told_the_new_one(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.receive(vote(7, 3))
    response = follower.receive(vote(6, 1, offset=9, last_epoch=1))
    assert (response.error, response.epoch) == (ErrorCode.FENCED_LEADER_EPOCH, 7)


def test_a_split_vote_is_tried_again_after_a_random_pause(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    for node in (one, two, three):
        node.time_out()
    quorum.deliver()
    for node in (one, two, three):
        assert node.is_a(Candidate)
        assert node.as_a(Candidate).lost
        assert (
            node.as_a(Candidate).election_deadline <= quorum.now + 100
        )  # up to 100 ms at first, doubled with each defeat
    one.time_out()
    assert one.is_a(Prospective)
    quorum.deliver()
    assert one.is_a(Leader)
    assert two.is_a(Follower)


def test_a_split_vote_does_not_wait_for_a_voter_that_is_gone(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    quorum.kill(three)
    one.time_out()
    two.time_out()
    quorum.deliver()
    assert one.is_a(Candidate)
    assert one.as_a(Candidate).ballots.rejected == {2}
    assert one.as_a(Candidate).lost
    assert one.as_a(Candidate).election_deadline <= quorum.now + 100


def test_a_voter_that_is_not_up_yet_is_asked_again(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    quorum.kill(two)
    quorum.kill(three)
    one.time_out()
    quorum.deliver()
    assert one.is_a(Prospective)
    quorum.revive(two)
    quorum.advance(quorum.options.retry_backoff_ms)
    quorum.deliver()
    assert one.is_a(Leader)


def test_a_candidate_follows_who_won_its_epoch(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    one.time_out()
    two.time_out()
    quorum.deliver_between(one, two)
    response = two.receive(BeginQuorumEpochRequest(1, 3, (endpoint_of(3),), key_of(2)))
    assert response == BeginQuorumEpochResponse(ErrorCode.NONE, 1, 3, (endpoint_of(3),))
    assert two.is_a(Follower)
    assert two.persisted == ElectionState(1, 3, key_of(2))
    assert three.id == 3


def test_two_leaders_of_one_epoch_cannot_be(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    assert follower.receive(BeginQuorumEpochRequest(1, 3, (endpoint_of(3),))).error == ErrorCode.INVALID_REQUEST
    assert leader.receive(BeginQuorumEpochRequest(1, 3, (endpoint_of(3),))).error == ErrorCode.INVALID_REQUEST
    assert leader.is_a(Leader)


def test_an_old_voter_knows_no_pre_votes(quorum: Quorum) -> None:
    one, two, _ = quorum.of(3)
    quorum.parcels.clear()
    one.time_out()
    (parcel,) = [parcel for parcel in quorum.parcels if parcel.target == two.id]
    one.step(Failed(parcel.correlation_id, Failure.UNSUPPORTED))
    assert one.is_a(Candidate)


def test_a_leader_tells_quiet_voters_of_itself_until_they_fetch(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    quorum.lose(leader)
    quorum.lose(other)
    quorum.advance(quorum.options.begin_quorum_epoch_timeout_ms)
    leader.assert_sent(BeginQuorumEpochRequest, voter=other.key)
    assert follower.id == 2


def test_only_voters_stand(quorum: Quorum) -> None:
    *_, observer = quorum.of(3, observers=1).with_leader(1)
    quorum.parcels.clear()
    quorum.advance(60_000)
    assert not observer.is_a(Prospective, Candidate)
    observer.assert_not_sent(VoteRequest)


def test_a_voter_whose_directory_was_replaced_votes_no_more(quorum: Quorum) -> None:
    leader, _, other = quorum.of(3).with_leader(1)
    other.key = ReplicaKey(3, b"x" * 16)
    other.persisted = None
    other.entries.clear()
    other.restart()
    assert not other.core.is_voter
    quorum.deliver()
    assert other.key in leader.as_a(Leader).observers


def test_resigned_is_no_leader_to_be_told_of(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    quorum.parcels.clear()
    leader.time_out()
    assert leader.is_a(Resigned)
    assert leader.core.leader_and_epoch.leader_id is None
    response = leader.receive(FetchRequest(1, follower.key, 3, 1, 0, 1000))
    assert (response.error, response.leader_id) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, None)


def test_a_leader_that_has_moved_writes_the_voters_again(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    assert only.core.log.voters_offset == 0
    only.restart()
    assert only.core.log.voters_offset == 0  # nothing new to say
    only.endpoints = (Endpoint(LISTENER, "elsewhere", 1),)
    only.restart()
    assert only.core.log.voters_offset == 4
    assert [voter.endpoints for voter in only.core.log.voters] == [only.endpoints]


def test_a_replica_that_does_not_know_its_address_has_it_from_the_voters(quorum: Quorum) -> None:
    (only,) = quorum.of(1)
    only.endpoints = ()
    only.restart()
    assert only.core.known_leader == (1, (endpoint_of(1),))
    assert only.core.log.voters_offset == 0
