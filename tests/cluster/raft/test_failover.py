"""Failover and resignation: fast where there is evidence, patient where there is none."""

from __future__ import annotations

import pytest

from blumfeld.cluster.raft.events import PeerUnreachable, Resign, Shutdown, ShutdownComplete, Stalled
from blumfeld.cluster.raft.listener import LeaderAndEpoch
from blumfeld.cluster.raft.messages import (
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    VoteRequest,
)
from blumfeld.cluster.raft.roles import Follower, Leader, Prospective, Resigned
from blumfeld.protocol.errors import ErrorCode
from tests.cluster.raft.quorum import Quorum, endpoint_of, key_of


def test_a_leader_whose_process_is_gone_is_replaced_within_a_moment(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    quorum.kill(leader)
    quorum.settle(quorum.options.unreachable_timeout_ms + 50)
    assert quorum.alive[0].is_a(Leader) or quorum.alive[1].is_a(Leader)


def test_a_leader_that_only_falls_silent_is_given_its_time(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    for _ in range(150):
        quorum.now += 10
        for node in (follower, other):
            node.tick()
        quorum.lose(to=leader)
        quorum.deliver_between(follower, other)
    assert follower.is_a(Follower)
    assert other.is_a(Follower)


def test_evidence_shortens_only_a_followers_fetch_timer(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    before = leader.as_a(Leader).check_quorum_deadline
    leader.step(PeerUnreachable(follower.id, "refused"))
    leader.step(PeerUnreachable(other.id, "refused"))
    assert leader.as_a(Leader).check_quorum_deadline == before
    patient = follower.as_a(Follower).fetch_deadline
    follower.step(PeerUnreachable(other.id, "refused"))
    assert follower.as_a(Follower).fetch_deadline == patient
    follower.step(PeerUnreachable(leader.id, "refused"))
    assert follower.as_a(Follower).fetch_deadline <= quorum.now + 250


def test_repeated_evidence_does_not_put_the_moment_off(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.step(PeerUnreachable(leader.id))
    deadline = follower.as_a(Follower).fetch_deadline
    quorum.now += 100
    follower.step(PeerUnreachable(leader.id))
    assert follower.as_a(Follower).fetch_deadline == deadline


def test_a_leader_that_comes_back_in_time_keeps_leading(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.step(PeerUnreachable(leader.id))
    leader.append("a")
    quorum.deliver()
    assert not follower.as_a(Follower).suspected
    quorum.settle(1_000)
    assert leader.is_a(Leader)
    assert leader.core.epoch == 1


def test_time_in_which_our_loop_stood_still_counts_against_nobody(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    quorum.now += 5_000
    follower.step(Stalled(5_000))
    assert follower.is_a(Follower)
    leader.step(Stalled(5_000))
    assert leader.is_a(Leader)


def test_without_a_majority_of_fetches_the_leader_resigns(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    quorum.parcels.clear()
    quorum.now += quorum.options.check_quorum_timeout_ms - 1
    leader.tick()
    assert leader.is_a(Leader)
    quorum.now += 1
    leader.forget().tick()
    assert leader.is_a(Resigned)
    assert leader.leaders[-1] == LeaderAndEpoch(None, 1)
    leader.assert_sent(EndQuorumEpochRequest, epoch=1, leader_id=1, preferred=(follower.key, other.key))


def test_one_follower_of_two_is_majority_enough(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    quorum.kill(other)
    quorum.settle(2 * quorum.options.check_quorum_timeout_ms)
    assert leader.is_a(Leader)
    assert follower.is_a(Follower)


def test_observers_are_no_majority(quorum: Quorum) -> None:
    leader, follower, other, _ = quorum.of(3, observers=1).with_leader(1)
    quorum.kill(follower)
    quorum.kill(other)
    quorum.settle(quorum.options.check_quorum_timeout_ms + 20)
    assert leader.is_a(Resigned)


def test_the_best_successor_stands_at_once(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.append("a")
    quorum.deliver_between(leader, other)  # other is ahead
    leader.step(Shutdown())
    request = leader.assert_sent(EndQuorumEpochRequest, epoch=1)
    assert request.preferred == (other.key, follower.key)
    quorum.deliver(leader, to=other)
    assert other.is_a(Prospective)
    quorum.deliver(leader, to=follower)
    assert follower.as_a(Follower).fetch_deadline > quorum.now
    quorum.deliver()
    assert other.is_a(Leader)
    assert other.committed == ["a"]
    assert leader.did(ShutdownComplete)


def test_successors_wait_for_better_ones(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    preferred = (key_of(9), key_of(8), key_of(2), key_of(7))
    follower.receive(EndQuorumEpochRequest(1, 1, (), preferred))
    assert follower.as_a(Follower).fetch_deadline == quorum.now + 250  # 1000 ms >> 3, << 1


def test_who_is_no_preferred_successor_waits_longest(quorum: Quorum) -> None:
    _, follower, _ = quorum.of(3).with_leader(1)
    follower.receive(EndQuorumEpochRequest(1, 1, (), (key_of(9),)))
    assert follower.as_a(Follower).fetch_deadline == quorum.now + 1_000


def test_the_end_of_an_old_epoch_is_no_news(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    follower.receive(VoteRequest(4, key_of(3), 99, 1, False))
    response = follower.receive(EndQuorumEpochRequest(1, leader.id))
    assert response == EndQuorumEpochResponse(ErrorCode.FENCED_LEADER_EPOCH, 4, None)


def test_who_resigned_stands_again_in_a_later_epoch(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    quorum.parcels.clear()
    leader.step(Resign(1))
    assert leader.is_a(Resigned)
    quorum.lose(leader)
    leader.time_out()
    assert leader.as_a(Prospective).epoch == 2


def test_an_old_wish_to_resign_is_void(quorum: Quorum) -> None:
    leader, *_ = quorum.of(3).with_leader(1)
    leader.step(Resign(0))
    assert leader.is_a(Leader)


def test_who_resigned_tells_until_all_have_heard(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    leader.forget().step(Shutdown())
    assert leader.did(ShutdownComplete) == []
    quorum.lose(leader, to=other)
    quorum.deliver(leader, to=follower)
    quorum.deliver(follower, to=leader)
    assert leader.did(ShutdownComplete) == []
    quorum.now += quorum.options.request_timeout_ms
    leader.tick()
    quorum.now += 100
    leader.tick()
    quorum.deliver(leader, to=other)
    quorum.deliver(other, to=leader)
    assert leader.did(ShutdownComplete)


def test_a_whole_cluster_stops_without_waiting_for_each_other(quorum: Quorum) -> None:
    leader, follower, other = quorum.of(3).with_leader(1)
    quorum.kill(follower)
    quorum.kill(other)
    leader.step(Shutdown())
    quorum.deliver()
    assert leader.did(ShutdownComplete)


@pytest.mark.parametrize("voters", [1, 3])
def test_others_stop_at_once(quorum: Quorum, voters: int) -> None:
    node = quorum.of(voters).with_leader(1)[voters] if voters > 1 else next(iter(quorum.of(1)))
    node.step(Shutdown())
    assert node.did(ShutdownComplete) == [ShutdownComplete()]


def test_who_stops_is_asked_for_nothing_more(quorum: Quorum) -> None:
    leader, follower, _ = quorum.of(3).with_leader(1)
    leader.step(Shutdown())
    leader.core.role = Leader(1, 1, key_of(1), 0, (), 9e9, 9e9)
    response = leader.receive(FetchRequest(1, follower.key, 3, 1, 0, 1))
    assert response.error == ErrorCode.BROKER_NOT_AVAILABLE


def test_a_restarted_cluster_elects_before_the_timeouts_of_old(quorum: Quorum) -> None:
    nodes = list(quorum.of(3).with_leader(1))
    for node in nodes:
        quorum.kill(node)
    for node in nodes:
        quorum.revive(node)
    quorum.settle(500)
    assert quorum.leader.core.epoch >= 2


def test_an_observer_finds_the_new_leader(quorum: Quorum) -> None:
    leader, _, _, observer = quorum.of(3, observers=1).with_leader(1)
    quorum.kill(leader)
    quorum.settle(600)
    assert observer.as_a(Follower).leader_id == quorum.leader.id
    quorum.leader.append("b")
    quorum.deliver()
    assert observer.committed == ["b"]


def test_an_observer_that_knows_no_voters_asks_the_bootstrap_servers(quorum: Quorum) -> None:
    *_, observer = quorum.of(3, observers=1)
    observer.assert_sent(FetchRequest, epoch=0, offset=0, last_epoch=0)
    assert len(observer.core.log.voters) == 0
    quorum.with_leader(1)
    quorum.settle(300)
    assert observer.as_a(Follower).leader_id == 1
    assert observer.core.log.voters.ids == {1, 2, 3}
    assert observer.as_a(Follower).endpoints == (endpoint_of(1),)
