"""Following: what is asked, what answers do, how diverging logs become one again. Leader and follower are both real."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchResponse
from blumfeld.storage.log_config import LogConfig
from tests.cluster.world import World


@pytest.fixture
def world() -> World:
    return World(3)


def bytes_of(world: World, node_id: int) -> bytes:
    log = world[node_id].partition().log
    return bytes(log.read(log.log_start_offset, 1 << 30).records)


# --- copying ------------------------------------------------------------------------------------------------------


def test_a_follower_copies_byte_for_byte(world: World) -> None:
    world.create_topic([1, 2, 3])
    for number in range(20):
        world[1].produce(f"value {number}", "and another")
    world.replicate(rounds=4)
    assert bytes_of(world, 1) == bytes_of(world, 2) == bytes_of(world, 3)
    assert world[2].partition().high_watermark == 40


def test_an_idle_session_names_no_partitions(world: World) -> None:
    world.create_topic([1, 2], partitions=50)
    world.replicate()
    request = world[2].ask(world[1])
    assert request is not None
    assert (request.topics, request.forgotten_topics_data) == ([], [])
    answer = world[1].serve(request)
    assert answer.responses == []
    world[2].take(world[1], world[2].replication(1).request_number, answer)
    world[1].produce("x", index=7)
    moved = world[2].fetch(world[1])
    assert moved is not None
    assert [p.partition_index for t in moved.responses for p in t.partitions] == [7]


def test_a_session_that_the_leader_forgot_begins_anew(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    for session in list(world[1].broker.fetch_sessions._sessions):
        world[1].broker.fetch_sessions.drop(session, world[1].replicas)
    world[1].produce("a")
    answer = world[2].fetch(world[1])
    assert answer is not None
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    world[2].fetch(world[1])
    assert world[2].values() == ["a"]


def test_without_a_session_each_request_is_whole(world: World) -> None:
    world[1].broker.fetch_sessions.slots = 0
    world.create_topic([1, 2], partitions=3)
    world.replicate()
    request = world[2].ask(world[1])
    assert request is not None
    assert sum(len(topic.partitions) for topic in request.topics) == 3
    world[1].produce("a", index=2)
    world.replicate()
    assert world[2].values(2) == ["a"]


def test_a_lost_answer_is_made_good(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world[1].produce("a")
    request = world[2].ask(world[1])
    assert request is not None
    world[1].serve(request)
    world[2].replication(1).failed()  # the connection broke
    world.replicate()
    assert world[2].values() == ["a"]


def test_a_repeated_or_late_answer_does_nothing(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world[1].produce("a")
    request = world[2].ask(world[1])
    assert request is not None
    number = world[2].replication(1).request_number
    answer = world[1].serve(request)
    for _ in range(3):
        world[2].take(world[1], number, answer)
    assert world[2].values() == ["a"]


def test_an_overtaken_request_is_answered_with_an_error_that_changes_nothing(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    first = world[2].ask(world[1])
    first_number = world[2].replication(1).request_number
    world[1].produce("a")
    second = world[2].ask(world[1])
    second_number = world[2].replication(1).request_number
    assert first is not None
    assert second is not None
    answer = world[1].serve(first)
    late = world[1].serve(first)
    assert late.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    world[2].take(world[1], first_number, late)
    world[2].take(world[1], second_number, world[1].serve(second))
    world[2].take(world[1], first_number, answer)
    world.replicate()
    assert world[2].values() == ["a"]


def test_an_answer_that_was_overtaken_is_not_taken_for_one_to_a_later_position(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.create_topic([1, 2])
    world.replicate()
    follower = world[2].replication(1)
    first, first_number = world[2].ask(world[1]), follower.request_number
    assert first is not None
    world[1].produce("a")
    slow = world[1].serve(first)
    second, second_number = world[2].ask(world[1]), follower.request_number
    assert second is not None
    world[1].produce("b")
    world[2].take(world[1], second_number, world[1].serve(second))
    assert world[2].values() == ["a", "b"]
    third, third_number = world[2].ask(world[1]), follower.request_number  # tells where the log ends by now
    assert third is not None
    world[2].take(world[1], first_number, slow)
    assert follower.next_ready() is None, "delayed, as if the leader had sent nonsense"
    assert caplog.records == []
    world[1].produce("c")
    world[2].take(world[1], third_number, world[1].serve(third))
    assert world[2].values() == ["a", "b", "c"]


def test_an_answer_from_before_a_truncation_is_not_appended(world: World) -> None:
    world.create_topic([1, 2, 3])
    world.replicate()
    world[1].produce("a")
    request = world[2].ask(world[1])
    assert request is not None
    number = world[2].replication(1).request_number
    answer = world[1].serve(request)
    world.elect(3, [1, 2, 3])
    world[2].take(world[1], number, answer)
    assert world[2].partition().log_end_offset == 0


def test_a_flush_from_before_an_epoch_promises_nothing_of_what_came_after(world: World) -> None:
    flushes: list[int] = []
    world.create_topic([1, 2])
    replication, partition = world[2].replication(1), world[2].partition()
    replication._flush = lambda partition, offset: flushes.append(offset)
    partition.log.update_config(LogConfig(flush_messages=1))
    world[1].produce("a")
    world[2].fetch(world[1])
    world.elect(1, [1])  # a new leader epoch: followed anew
    world[1].produce("b")
    world[2].fetch(world[1])
    assert (flushes, partition.log_end_offset) == ([1, 2], 2)
    assert told(world, partition.log.flush(1)) == []
    assert told(world, partition.log.flush(2)) == [2]


def told(world: World, flushed: int) -> list[int]:
    """The positions that broker 2 tells when it hears that so much is on the device."""
    world[2].replication(1).flushed(world[2].partition())
    request = world[2].ask(world[1])
    topics = [] if request is None else request.topics
    return [partition.fetch_offset for topic in topics for partition in topic.partitions]


def test_partitions_follow_their_leader_to_another_broker(world: World) -> None:
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    world.elect(2, [2, 3])
    world[2].produce("b")
    world.replicate()
    assert world[3].values() == world[1].values() == ["a", "b"]
    assert world[3].follows.leaders[world[3].partition()] == 2


# --- trouble ------------------------------------------------------------------------------------------------------


def test_a_partition_in_trouble_is_delayed_alone_and_longer_each_time(world: World) -> None:
    world.deaf.add(1)
    world.create_topic([1, 2], partitions=2)  # the leader has not heard of it
    answer = world[2].fetch(world[1])
    assert answer is not None
    assert answer.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_ID
    replication = world[2].replication(1)
    waits = []
    for _ in range(8):
        assert world[2].ask(world[1]) is None, "nothing to ask now"
        ready = replication.next_ready()
        assert ready is not None
        waits.append(ready - world.clock.monotonic())
        world.clock.advance(ready - world.clock.monotonic() + 0.001)
        world[2].fetch(world[1])
    assert waits[0] == pytest.approx(0.02, abs=0.001)
    assert waits[-1] == pytest.approx(1.0, abs=0.01)
    world.publish(1)
    world[1].produce("a")
    world.clock.advance(1.1)
    world.replicate()
    assert world[2].values() == ["a"]


def test_a_fenced_partition_waits_for_metadata(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world.deaf.add(2)
    world.elect(1, [1, 2])
    world[1].produce("a")
    world[2].replication(1).failed()
    answer = world[2].fetch(world[1])
    assert answer is not None
    assert answer.responses[0].partitions[0].error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert world[2].ask(world[1]) is None
    assert world[2].replication(1).next_ready() is None
    world.publish(2)
    world.replicate()
    assert world[2].values() == ["a"]


# --- diverging logs -----------------------------------------------------------------------------------------------


def test_what_the_new_leader_never_had_is_cut(world: World) -> None:
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    world[1].produce("lost 1")
    world[1].produce("lost 2")
    world.elect(2, [2, 3])
    world[2].produce("b")
    world.replicate()
    assert world[1].values() == world[2].values() == world[3].values() == ["a", "b"]
    assert bytes_of(world, 1) == bytes_of(world, 2)


def test_divergence_over_several_epochs_converges(world: World) -> None:
    """Unclean elections back and forth: each broker has epochs that the others never saw (KIP-279)."""
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    world[1].produce("1.1")
    world.elect(2, [2])
    world[2].produce("2.1")
    world[2].produce("2.2")
    world.elect(1, [1])
    world[1].produce("1.2")
    world.elect(2, [2])
    world[2].produce("2.3")
    world.elect(3, [3])
    world[3].produce("3.1")
    world.replicate(rounds=8)
    assert world[1].values() == world[2].values() == world[3].values() == ["a", "3.1"]
    assert bytes_of(world, 1) == bytes_of(world, 2) == bytes_of(world, 3)


def test_an_epoch_without_records_is_forgotten_by_who_led_it(world: World) -> None:
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    world.elect(3, [3])  # leads epoch 1 and writes nothing
    world.elect(2, [2, 3])
    assert world[3].partition().log.latest_epoch == 1
    world.replicate()
    world[2].produce("b")
    world.replicate()
    assert world[3].values() == ["a", "b"]
    assert world[3].partition().log.end_offset_for_epoch(1) == (0, 1)


def test_a_follower_behind_the_leaders_start_begins_there(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    for _ in range(5):
        world[1].produce("x")
    world[1].partition().delete_records(3)
    answer = world[2].fetch(world[1])
    assert answer is not None
    assert answer.responses[0].partitions[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    (lost,) = world[2].replication(1).lost()
    assert world[2].replication(1).located(lost, 3, 5, world.clock.monotonic())
    world.replicate()
    follower = world[2].partition()
    assert (follower.log_start_offset, follower.log_end_offset) == (3, 5)


def test_the_leaders_start_may_lie_within_a_batch(world: World) -> None:
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[1].produce("a", "b", "c", "d")
    world[1].produce("e")
    world[1].partition().delete_records(2)
    world[2].fetch(world[1])
    (lost,) = world[2].replication(1).lost()
    assert world[2].replication(1).located(lost, 2, 5, world.clock.monotonic())
    world.replicate()
    follower = world[2].partition()
    assert (follower.log_start_offset, follower.log_end_offset) == (2, 5)
    assert bytes_of(world, 1) == bytes_of(world, 2)


def test_an_empty_followers_start_may_lie_within_a_batch_of_a_leader_that_starts_earlier(world: World) -> None:
    """It had followed a leader whose records were deleted up to there; its leader now never heard of that."""
    world.create_topic([1, 2])
    world.elect(1, [1])
    world[1].produce("a", "b")
    world[1].produce("c", "d")
    follower = world[2].partition()
    assert follower.start_over_at(3)
    world.replicate()
    assert (follower.log_start_offset, follower.log_end_offset) == (2, 4)
    assert world[2].values() == ["c", "d"]


def test_a_follower_beyond_the_leaders_end_is_cut_to_it(world: World) -> None:
    """After an unclean election of a replica that had nothing at all."""
    world.create_topic([1, 2])
    world[1].produce("a")
    world[1].produce("b")
    partition = world[1].partition()
    world.elect(2, [2])
    replication = world[1].replication(2)
    replication._lost[partition] = partition.leader_epoch
    assert replication.located(partition, 0, 1, world.clock.monotonic())
    assert partition.log_end_offset == 1


def test_a_log_is_not_wiped_when_the_leaders_range_holds_its_end(world: World) -> None:
    """Whatever made the leader say OFFSET_OUT_OF_RANGE, our records are not the problem."""
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    partition = world[2].partition()
    replication = world[2].replication(1)
    replication._lost[partition] = partition.leader_epoch
    assert not replication.located(partition, 0, 1, world.clock.monotonic())
    assert world[2].values() == ["a"]
    assert replication.next_ready() is not None, "it asks again, but not at once"


def test_where_a_lost_partition_is_cannot_be_told_to_one_that_moved_on(world: World) -> None:
    world.create_topic([1, 2, 3])
    world[1].produce("a")
    world.replicate()
    partition = world[2].partition()
    replication = world[2].replication(1)
    replication._lost[partition] = partition.leader_epoch
    world.elect(3, [2, 3])
    assert not replication.located(partition, 10, 20, world.clock.monotonic())
    replication.not_located(partition, world.clock.monotonic())
    assert world[2].values() == ["a"]


def test_followers_take_over_the_leaders_start(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world[1].produce("b")
    world.replicate()
    world[1].partition().delete_records(1)
    world[1].replicas.settle(world[1].partition())
    world.replicate()
    assert world[2].partition().log_start_offset == 1


def test_garbage_from_a_leader_delays_the_partition(world: World) -> None:
    world.create_topic([1, 2])
    world.replicate()
    world[1].produce("a")
    request = world[2].ask(world[1])
    assert request is not None
    number = world[2].replication(1).request_number
    answer = world[1].serve(request)
    data = answer.responses[0].partitions[0]
    assert data.records is not None
    garbled = bytearray(data.records)
    garbled[-1] ^= 0xFF
    data.records = bytes(garbled)
    world[2].take(world[1], number, answer)
    assert world[2].partition().log_end_offset == 0
    assert world[2].replication(1).next_ready() is not None
    world.clock.advance(1)
    world.replicate()
    assert world[2].values() == ["a"]


def test_a_refusal_of_the_whole_fetch_delays_everything(world: World) -> None:
    world.create_topic([1, 2], partitions=3)
    world[2].ask(world[1])
    number = world[2].replication(1).request_number
    refusal = FetchResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED, responses=[])
    world[2].take(world[1], number, refusal)
    assert world[2].ask(world[1]) is None


# --- brokers that come back ---------------------------------------------------------------------------------------


def test_a_restarted_follower_goes_on_where_it_stood(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world.restart(2)
    world[1].produce("b")
    world.register(2)
    world.replicate()
    assert world[2].values() == ["a", "b"]
    assert world[1].partition().high_watermark == 2


def test_a_restarted_leader_cuts_what_its_successor_never_had(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world[1].produce("only here")
    world.restart(1)
    world.deaf.add(1)
    world.elect(2, [2])
    world[2].produce("b")
    world.deaf.clear()
    world.register(1)
    world.replicate()
    assert world[1].values() == ["a", "b"]


# --- topics that go -----------------------------------------------------------------------------------------------


def test_a_deleted_topic_is_fetched_no_more_and_its_log_is_gone(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    partition = world[2].partition()
    world.delete_topic()
    assert world[2].replicas.find_by_name("t", 0) is None
    assert not partition.is_leader
    assert list(world[2].logs.logs()) == []
    assert world[2].ask(world[1]) is None
    assert world[1].replicas.why_missing("t", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_recreated_under_its_name_is_another_topic(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("old")
    world.replicate()
    world.deaf = {1, 2}
    world.delete_topic()
    world.create_topic([1, 2])
    world.deaf = set()
    world.publish(1)
    world.publish(2)
    world[1].produce("new")
    world.replicate()
    assert world[2].values() == ["new"]


def test_what_lies_in_a_directory_that_failed_is_fetched_no_more(world: World) -> None:
    world.create_topic([1, 2])
    world.create_topic([1, 2], name="other")
    world.replicate()
    world[2].partition().log.home.fail(OSError(5, "Input/output error"), "writing")
    world[2].replicas.directory_failed()
    assert [partition.topic for partition in world[2].follows.leaders] == ["other"]
    world.elect(1, [1])
    assert [partition.topic for partition in world[2].follows.leaders] == ["other"]


def test_a_topic_recreated_because_its_log_was_damaged_is_there_again(world: World) -> None:
    world[1].logs.damaged.add(("t", 0))
    world.create_topic([1])
    assert world[1].replicas.why_missing("t", 0) is ErrorCode.KAFKA_STORAGE_ERROR
    world.delete_topic()
    world.create_topic([1])
    world[1].produce("new")
    assert world[1].values() == ["new"]


def test_a_topic_recreated_while_the_broker_was_away(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("old")
    world.replicate()
    world.restart(2)
    world.deaf = {2}
    world.delete_topic()
    world.create_topic([1, 2])
    world.deaf = set()
    world.register(2)
    world[1].produce("new")
    world.replicate()
    assert world[2].values() == ["new"]


def test_a_replica_that_is_assigned_away_is_deleted(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a")
    world.replicate()
    world.change(replicas=[1], isr=[1], directories=[bytes(16)])
    assert world[2].replicas.find_by_name("t", 0) is None
    assert list(world[2].logs.logs()) == []
    assert world[1].partition().followers == {}


def test_a_replica_that_went_and_came_back_between_two_fetches_is_fetched(world: World) -> None:
    world.create_topic([1, 2])
    world.create_topic([1, 2], name="other")  # the session goes on
    world.replicate()
    world.change(replicas=[1], isr=[1], leader=1)
    world.change(replicas=[1, 2])
    world.replicate()
    world[1].produce("a")
    world.replicate()
    assert world[2].values() == ["a"]


def test_strays_are_deleted(world: World) -> None:
    world.create_topic([1, 2])
    world[2].logs.create("gone", 3, b"x" * 16)
    assert world[2].replicas.remove_strays() == 1
    assert [log.topic for log in world[2].logs.logs()] == ["t"]
