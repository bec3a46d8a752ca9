"""One replica: who may append, how far it is committed, who is in sync."""

from __future__ import annotations

import pytest

from blumfeld.cluster.image.directories import LOST_DIRECTORY
from blumfeld.cluster.partition import Role
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition import AlterPartitionResponse
from blumfeld.protocol.messages.metadata_log import ConfigRecord
from tests.cluster.world import World


@pytest.fixture
def world() -> World:
    return World(3)


# --- roles --------------------------------------------------------------------------------------------------------


def test_metadata_makes_leaders_and_followers(world: World) -> None:
    world.create_topic([1, 2])
    assert world[1].partition().role is Role.LEADER
    assert world[2].partition().role is Role.FOLLOWER
    assert world[3].replicas.find_by_name("t", 0) is None
    assert world[3].replicas.why_missing("t", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert world[3].replicas.why_missing("t", 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_lone_leader_commits_at_once(world: World) -> None:
    world.create_topic([1])
    result = world[1].produce("a", "b", acks=-1)
    assert (result.error, result.base_offset, result.last_offset) == (ErrorCode.NONE, 0, 1)
    assert world[1].partition().high_watermark == 2
    assert world[1].partition().commit_state(2) is ErrorCode.NONE


def test_only_the_leader_appends(world: World) -> None:
    world.create_topic([1, 2])
    assert world[2].produce("a").error is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_an_append_may_name_the_leader_epoch_it_is_for(world: World) -> None:
    world.create_topic([1])
    world.elect(1, [1])
    assert world[1].produce("a", leader_epoch=0).error is ErrorCode.FENCED_LEADER_EPOCH
    assert world[1].produce("a", leader_epoch=2).error is ErrorCode.UNKNOWN_LEADER_EPOCH
    assert world[1].produce("a", leader_epoch=1).error is ErrorCode.NONE


def test_a_new_leader_notes_its_epoch_before_it_appends(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world.elect(1, [1])
    assert world[1].partition().log.latest_epoch == 1
    assert world[1].partition().log.end_offset_for_epoch(0) == (0, 1)


def test_metadata_of_an_older_partition_epoch_is_ignored(world: World) -> None:
    world.create_topic([1, 2])
    old = world.image.topics.partition_by_name("t", 0)
    assert old is not None
    world.elect(2, [1, 2])
    partition = world[1].partition()
    assert not partition.become_leader(old, 0.0)
    assert not partition.is_leader


# --- commit -------------------------------------------------------------------------------------------------------


def test_the_high_watermark_is_what_every_in_sync_replica_has(world: World) -> None:
    world.create_topic([1, 2, 3])
    world[1].produce("a", acks=-1)
    leader = world[1].partition()
    assert leader.high_watermark == 0
    assert leader.commit_state(1) is None
    world[2].fetch(world[1], times=2)
    assert leader.high_watermark == 0
    world[3].fetch(world[1], times=2)
    assert leader.high_watermark == 1
    assert leader.commit_state(1) is ErrorCode.NONE


def test_a_leader_that_missed_an_interregnum_knows_nothing_of_its_followers_any_more(world: World) -> None:
    """They may have followed somebody else meanwhile, and cut what they had."""
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    world[1].produce("b")
    world[2].fetch(world[1], times=2)  # 2 has both, 3 has one, and 1 knows that
    world.deaf.add(1)
    world.elect(3, [1, 2, 3])
    world[2].fetch(world[3], times=2)
    assert world[2].values() == ["a"], "cut by the new leader"
    world.elect(1, [1, 2])
    world.publish(1)
    assert world[1].partition().leader_epoch == 2
    assert world[1].partition().high_watermark == 1, "not what 2 had two epochs ago"
    world[2].fetch(world[1], times=3)
    assert world[1].partition().high_watermark == 2


def test_a_leader_elected_again_keeps_what_it_knows_of_its_followers(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world.elect(1, [1, 2])
    assert world[1].partition().followers[2].log_end_offset == 1


def test_a_replica_that_went_and_came_back_unnoticed_by_its_leader_begins_from_nothing(world: World) -> None:
    world.create_topic([1, 2, 3])
    world.create_topic([1, 2, 3], name="other")  # whose fetches are signs of life
    world[1].produce("a")
    world.replicate()
    world.deaf = {1}
    world.change(replicas=[1, 3], isr=[1, 3], leader=1)
    world.change(replicas=[1, 3, 2])
    assert world[2].partition().log_end_offset == 0
    world.deaf = set()
    world.publish(1)
    assert world[1].proposals == [], "what it had is gone"
    world.replicate()
    assert [member for member, _ in world[1].proposals[0].isr] == [1, 2, 3]
    assert world[2].values() == ["a"]


def test_followers_learn_the_high_watermark_with_their_next_fetch(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world[2].fetch(world[1], times=2)
    assert world[1].partition().high_watermark == 1
    assert world[2].partition().high_watermark == 0
    world[2].fetch(world[1])
    assert world[2].partition().high_watermark == 1


def test_acks_all_is_refused_before_the_append_when_too_few_are_in_sync(world: World) -> None:
    world.create_topic([1, 2, 3], min_isr=2)
    world.elect(1, [1])
    assert world[1].produce("a", acks=-1).error is ErrorCode.NOT_ENOUGH_REPLICAS
    assert world[1].partition().log_end_offset == 0
    assert world[1].produce("a", acks=1).error is ErrorCode.NONE


def test_the_high_watermark_stands_while_too_few_are_in_sync(world: World) -> None:
    world.create_topic([1, 2, 3], min_isr=2)
    world.elect(1, [1])
    world[1].produce("a", acks=1)
    assert world[1].partition().high_watermark == 0
    world.change(isr=[1, 2])
    world[2].fetch(world[1], times=2)
    assert world[1].partition().high_watermark == 1


def test_min_insync_replicas_never_asks_for_more_replicas_than_there_are(world: World) -> None:
    world.create_topic([1, 2], min_isr=3)
    world.replicate()
    assert world[1].produce("a", acks=-1).error is ErrorCode.NONE


def test_an_isr_that_shrank_after_the_append_is_told(world: World) -> None:
    world.create_topic([1, 2], min_isr=2)
    world[1].produce("a", acks=-1)
    world[2].fetch(world[1], times=2)
    world.fence(2)
    world.change(isr=[1])
    assert world[1].partition().commit_state(1) is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND


def test_a_leader_that_is_deposed_cannot_commit(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a", acks=-1)
    world.elect(2, [1, 2])
    assert world[1].partition().commit_state(1) is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_lowering_min_insync_replicas_lets_the_high_watermark_go_on(world: World) -> None:
    world.create_topic([1, 2], min_isr=2)
    world.elect(1, [1])
    world[1].produce("a")
    partition = world[1].partition()
    assert partition.high_watermark == 0
    partition.set_min_in_sync(1, world.clock.monotonic())
    assert partition.high_watermark == 1


def test_the_clusters_default_of_min_insync_replicas_may_change(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world.commit(ConfigRecord(resource_type=4, resource_name="", name="min.insync.replicas", value="2"))
    world.fence(2)
    world.change(isr=[1])
    assert world[1].produce("a", acks=-1).error is ErrorCode.NOT_ENOUGH_REPLICAS
    world.commit(ConfigRecord(resource_type=4, resource_name="", name="min.insync.replicas", value=None))
    assert world[1].produce("a", acks=-1).error is ErrorCode.NONE


# --- in sync ------------------------------------------------------------------------------------------------------


def test_a_follower_that_caught_up_is_proposed_at_once_and_counts_at_once(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[1].produce("a")
    leader = world[1].partition()
    assert leader.high_watermark == 1
    world[2].fetch(world[1], times=2)
    (proposal,) = world[1].proposals
    assert [member for member, _ in proposal.isr] == [1, 2]
    assert dict(proposal.isr)[2] == world[2].membership.broker_epoch
    world[1].produce("b")
    assert leader.high_watermark == 1, "the replica that is about to join counts already"
    world.decide_isr(world[1])
    assert leader.isr.committed == {1, 2}
    assert leader.isr.proposal is None


def test_a_follower_must_have_reached_the_start_of_this_leader_epoch(world: World) -> None:
    """Or else records committed by the previous leader, above the high watermark known here, could be lost."""
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world[2].fetch(world[1], times=2)
    world.elect(2, [1, 2])
    new_leader = world[2].partition()
    assert (new_leader.high_watermark, new_leader.leadership.epoch_start) == (0, 1)
    world[3].fetch(world[2])  # asks from 0: at the high watermark, but not at the epoch's start
    assert world[2].proposals == []
    world[3].fetch(world[2])
    assert [member for member, _ in world[2].proposals[0].isr] == [1, 2, 3]


def test_a_fenced_follower_is_not_proposed_until_metadata_says_it_is_fit(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    world.fence(2)
    world[2].fetch(world[1], times=2)
    assert world[1].proposals == []
    world.fence(2, fenced=False)
    assert len(world[1].proposals) == 1, "without another fetch: an idle partition is not named in them"


def test_a_follower_whose_directory_failed_is_not_proposed_though_it_has_everything(world: World) -> None:
    world.create_topic([1, 2, 3])
    world.create_topic([1, 2, 3], name="other")  # whose fetches are signs of life
    world[1].produce("a")
    world.replicate()
    world.change(isr=[1, 3], directories=[bytes(16), LOST_DIRECTORY, bytes(16)])
    world.replicate()
    assert world[1].proposals == []
    world.change(directories=[bytes(16)] * 3)
    assert [member for member, _ in world[1].proposals[0].isr] == [1, 2, 3]


def test_an_earlier_incarnation_of_a_follower_is_not_heard(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    old_epoch = world[2].membership.broker_epoch
    world.register(2)
    world[2].membership.broker_epoch = old_epoch
    answer = world[2].fetch(world[1])
    assert answer is not None
    assert answer.responses[0].partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert world[1].proposals == []


def test_a_late_fetch_of_an_earlier_incarnation_does_not_hide_its_successor(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    old_epoch = world[2].membership.broker_epoch
    late = world[2].ask(world[1])
    assert late is not None
    assert late.replica_state.replica_epoch == old_epoch
    world.deaf.add(1)
    world.register(2)
    world[2].replication(1).failed()
    world[2].fetch(world[1])
    world[1].serve(late)
    assert world[1].partition().followers[2].broker_epoch == world[2].membership.broker_epoch


def test_a_replica_that_is_not_known_yet_shall_ask_again(world: World) -> None:
    world.create_topic([1, 2])
    world.deaf.add(1)
    world.change(replicas=[1, 2, 3], adding_replicas=[3], directories=[bytes(16)] * 3)
    answer = world[3].fetch(world[1])
    assert answer is not None
    assert answer.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_follower_that_lags_is_dropped_after_the_lag_time(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world[1].produce("a")
    world.clock.advance(29)
    world[1].replicas.shrink_isrs()
    assert world[1].proposals == []
    world.clock.advance(2)
    world[1].replicas.shrink_isrs()
    assert [member for member, _ in world[1].proposals[0].isr] == [1]
    assert world[1].partition().high_watermark == 0, "a replica that leaves counts until that is committed"
    world.decide_isr(world[1])
    assert world[1].partition().high_watermark == 1


def test_a_leader_whose_directory_failed_drops_nobody(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world[1].produce("a")
    world[1].partition().log.home.fail(OSError(5, "Input/output error"), "reading")
    world.clock.advance(31)
    world.replicate()  # in vain: it is no fault of the follower
    world[1].replicas.shrink_isrs()
    assert world[1].proposals == []


def test_a_follower_that_has_everything_is_in_sync_however_long_it_is_idle(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world.clock.advance(100)
    world[1].replicas.shrink_isrs()
    assert world[1].proposals == []


def test_fetches_that_do_not_name_an_idle_partition_are_signs_of_life_for_it(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world.clock.advance(100)
    world[2].fetch(world[1])  # an incremental fetch with nothing in it
    world[1].produce("a")
    world.clock.advance(20)
    world[1].replicas.shrink_isrs()
    assert world[1].proposals == [], "it was caught up 20 s ago"
    world.clock.advance(11)
    world[1].replicas.shrink_isrs()
    assert len(world[1].proposals) == 1


def test_a_follower_that_died_while_idle_is_dropped_when_there_is_something_to_fetch(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world.clock.advance(100)
    world[1].produce("a")
    world[1].replicas.shrink_isrs()
    assert len(world[1].proposals) == 1


def test_a_slow_follower_is_in_sync_while_it_reaches_what_was_the_end_at_its_last_fetch(world: World) -> None:
    world.create_topic([1, 2])
    for _ in range(6):
        world[1].produce("a")
        world[2].fetch(world[1])
        world.clock.advance(10)
    world[1].replicas.shrink_isrs()
    assert world[1].proposals == []


def test_the_high_watermark_waits_for_a_caught_up_replica_that_may_join(world: World) -> None:
    """Or else a follower could chase a lone leader for ever."""
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[1].produce("a")
    world[2].fetch(world[1], times=2)
    request = world[1].isr_queue.next_request()
    assert request is not None
    for partition in world[1].isr_queue.failed(ErrorCode.INELIGIBLE_REPLICA):
        world[1].replicas.settle(partition)
    assert world[1].partition().isr.maximal == {1}
    world[1].produce("b")
    assert world[1].partition().high_watermark == 1


def test_one_isr_change_at_a_time_and_the_next_follows_by_itself(world: World) -> None:
    world.create_topic([1, 2, 3])
    world.elect(1, [1])
    world[2].fetch(world[1], times=2)
    world[3].fetch(world[1], times=2)
    assert len(world[1].proposals) == 1
    world.decide_isr(world[1])
    assert len(world[1].proposals) == 2
    world.decide_isr(world[1])
    assert world[1].partition().isr.committed == {1, 2, 3}


# --- answers of the controller ------------------------------------------------------------------------------------


def _propose(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[2].fetch(world[1], times=2)
    assert world[1].partition().isr.maximal == {1, 2}


@pytest.mark.parametrize("error", [ErrorCode.INELIGIBLE_REPLICA, ErrorCode.OPERATION_NOT_ATTEMPTED])
def test_a_refusal_that_changed_nothing_restores_the_isr(world: World, error: ErrorCode) -> None:
    _propose(world)
    assert world[1].isr_queue.next_request() is not None
    world[1].isr_queue.failed(error)
    assert world[1].partition().isr.maximal == {1}
    assert world[1].isr_queue.next_request() is None


@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NEW_LEADER_ELECTED,
    ],
)
def test_an_answer_that_leaves_doubt_keeps_the_maximal_isr_until_metadata_comes(world: World, error: ErrorCode) -> None:
    _propose(world)
    assert world[1].isr_queue.next_request() is not None
    world[1].isr_queue.failed(error)
    assert world[1].partition().isr.maximal == {1, 2}
    assert world[1].isr_queue.next_request() is None
    world.change(isr=[1])
    assert world[1].partition().isr.maximal == {1} or world[1].partition().isr.proposal is not None


@pytest.mark.parametrize("error", [ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.STALE_BROKER_EPOCH])
def test_any_other_failure_is_tried_again(world: World, error: ErrorCode) -> None:
    _propose(world)
    assert world[1].isr_queue.next_request() is not None
    world[1].isr_queue.failed(error)
    assert world[1].partition().isr.maximal == {1, 2}
    assert world[1].isr_queue.next_request() is not None


def test_metadata_may_come_before_the_answer(world: World) -> None:
    _propose(world)
    request = world[1].isr_queue.next_request()
    assert request is not None
    answer = world.answer_to(request)
    world.publish(1)
    assert world[1].partition().isr.committed == {1, 2}
    assert world[1].isr_queue.answered(answer, 0.0) == []


def test_metadata_that_repeats_the_answer_does_not_touch_the_next_proposal(world: World) -> None:
    """The controller may be about to commit it: forgetting it would let the high watermark pass a member of the ISR."""
    world.create_topic([1, 2, 3])
    world.elect(1, [1])
    world.deaf.add(1)
    world[2].fetch(world[1], times=2)
    world.decide_isr(world[1])
    world[3].fetch(world[1], times=2)
    partition = world[1].partition()
    assert partition.isr.maximal == {1, 2, 3}
    world.publish(1)
    assert partition.isr.maximal == {1, 2, 3}


def test_an_answer_to_a_proposal_of_another_time_is_not_heeded(world: World) -> None:
    _propose(world)
    request = world[1].isr_queue.next_request()
    assert request is not None
    proposal = world[1].proposals[0]
    world.elect(1, [1])
    answer = AlterPartitionResponse.Topic.Partition(
        partition_index=0, error_code=0, leader_id=1, leader_epoch=1, isr=[1, 2], partition_epoch=9
    )
    partition = world[1].partition()
    partition.leadership.answered(proposal, answer, 0.0)
    assert partition.partition_epoch == 2


# --- readers ------------------------------------------------------------------------------------------------------


def test_a_reader_with_another_leader_epoch_is_told(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1, 2])
    partition = world[1].partition()
    assert partition.check_epoch(0, must_lead=True) is ErrorCode.FENCED_LEADER_EPOCH
    assert partition.check_epoch(2, must_lead=True) is ErrorCode.UNKNOWN_LEADER_EPOCH
    assert partition.check_epoch(1, must_lead=True) is ErrorCode.NONE
    assert partition.check_epoch(-1, must_lead=True) is ErrorCode.NONE
    follower = world[2].partition()
    assert follower.check_epoch(1, must_lead=True) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert follower.check_epoch(1, must_lead=False) is ErrorCode.NONE


def test_deleting_records_raises_the_start_up_to_the_high_watermark(world: World) -> None:
    world.create_topic([1])
    world[1].produce("a")
    world[1].produce("b")
    partition = world[1].partition()
    assert partition.delete_records(3) == (ErrorCode.OFFSET_OUT_OF_RANGE, 3)
    assert partition.delete_records(-2) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert partition.delete_records(1) == (ErrorCode.NONE, 1)
    assert partition.leadership.low_watermark == 1
    assert partition.delete_records(-1) == (ErrorCode.NONE, 2)
    assert partition.log_start_offset == 2


def test_the_low_watermark_waits_for_live_replicas(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world[1].partition().delete_records(1)
    world[1].replicas.settle(world[1].partition())
    assert world[1].partition().leadership.low_watermark == 0
    world.replicate(rounds=2)
    assert world[2].partition().log_start_offset == 1
    assert world[1].partition().leadership.low_watermark == 1
