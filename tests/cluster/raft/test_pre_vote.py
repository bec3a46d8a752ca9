"""Pre-votes (KIP-996): nobody is disturbed by who could not win."""

from __future__ import annotations

from blumfeld.cluster.raft.events import PeerUnreachable, PersistElection
from blumfeld.cluster.raft.messages import FetchRequest, VoteRequest, VoteResponse
from blumfeld.cluster.raft.roles import Candidate, Follower, Leader, Prospective, Unattached
from tests.cluster.raft.quorum import Quorum, key_of


def pre_vote(epoch: int, candidate: int, offset: int, last_epoch: int) -> VoteRequest:
    return VoteRequest(epoch, key_of(candidate), offset, last_epoch, pre_vote=True)


def test_a_follower_that_heard_its_leader_recently_rejects_a_pre_vote(quorum: Quorum) -> None:
    leader, follower, late = quorum.of(3).with_leader(1)
    late.restart()
    late.time_out()
    quorum.deliver(late, to=follower)
    follower.assert_sent(VoteResponse, granted=False, leader_id=leader.id)


def test_a_follower_that_has_not_heard_its_leader_grants_one(quorum: Quorum) -> None:
    _, follower, other = quorum.of(3).with_leader(1)
    follower.restart()
    assert follower.is_a(Follower)
    assert follower.receive(pre_vote(1, other.id, 3, 1)).granted


def test_a_pre_vote_changes_nothing(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    follower.forget()
    assert follower.receive(pre_vote(1, 3, 3, 1)).granted
    assert follower.receive(pre_vote(1, 3, 9, 1)).granted
    assert follower.did(PersistElection) == []
    assert follower.is_a(Follower)


def test_a_short_log_gets_no_pre_vote(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.restart()
    assert not follower.receive(pre_vote(1, 3, 2, 1)).granted


def test_a_voter_cut_off_disturbs_nobody_when_it_comes_back(quorum: Quorum) -> None:
    leader, follower, lonely = quorum.of(3).with_leader(1)
    quorum.lose(leader, to=lonely)
    for _ in range(5):
        lonely.time_out()
        quorum.lose(lonely)
    assert lonely.core.epoch == 1
    lonely.time_out() if lonely.is_a(Follower) else None
    quorum.deliver()
    assert leader.is_a(Leader)
    assert {node.core.epoch for node in quorum} == {1}
    assert follower.is_a(Follower)


def test_who_loses_a_pre_vote_follows_its_leader_again(quorum: Quorum) -> None:
    leader, follower, late = quorum.of(3).with_leader(1)
    quorum.now += 1_500
    leader.tick()
    quorum.deliver_between(leader, follower)
    late.time_out()
    quorum.deliver()
    assert late.as_a(Follower).leader_id == leader.id
    assert late.as_a(Follower).fetch_deadline == quorum.now + quorum.options.fetch_timeout_ms
    assert late.core.epoch == 1
    late.assert_sent(FetchRequest, epoch=1)


def test_who_loses_a_pre_vote_and_knows_no_leader_waits(quorum: Quorum) -> None:
    one, two, three = quorum.of(3)
    quorum.parcels.clear()
    for node in (two, three):
        node.receive(VoteRequest(1, key_of(9), 100, 0, False))
        node.core.log.epochs.append((1, 0))  # their logs go further than one's
    one.time_out()
    quorum.deliver()
    assert one.is_a(Unattached, Prospective, Follower)
    assert one.core.epoch == 1
    assert not one.is_a(Candidate)


def test_a_prospective_grants_pre_votes_and_votes(quorum: Quorum) -> None:
    one, _, _ = quorum.of(3)
    quorum.parcels.clear()
    one.time_out()
    assert one.is_a(Prospective)
    assert one.receive(pre_vote(0, 2, 0, 0)).granted
    assert one.receive(VoteRequest(1, key_of(2), 0, 0, False)).granted
    assert one.as_a(Unattached).voted == key_of(2)


def test_a_candidate_and_one_that_resigned_grant_pre_votes_but_no_votes(quorum: Quorum) -> None:
    one, two, _ = quorum.of(3)
    quorum.parcels.clear()
    one.time_out()
    quorum.deliver(one, to=two)
    quorum.deliver(two, to=one)
    assert one.is_a(Candidate)
    assert one.receive(pre_vote(1, 3, 0, 0)).granted
    assert not one.receive(VoteRequest(1, key_of(3), 0, 0, False)).granted


def test_a_leader_grants_no_pre_votes(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    assert not leader.receive(pre_vote(1, 2, 9, 1)).granted


def test_a_prospective_that_hears_its_leader_follows_it(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    quorum.parcels.clear()
    follower.time_out()
    assert follower.is_a(Prospective)
    leader.tick()
    quorum.deliver(leader, to=follower)
    assert follower.as_a(Follower).leader_id == leader.id


def test_evidence_against_the_leader_opens_the_way_for_pre_votes(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    assert not follower.receive(pre_vote(1, other.id, 3, 1)).granted
    follower.step(PeerUnreachable(leader.id, "refused"))
    assert follower.receive(pre_vote(1, other.id, 3, 1)).granted
