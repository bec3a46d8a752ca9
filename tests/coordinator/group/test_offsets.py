"""Offsets: who may commit, what is read, what transactions hide, what may be forgotten."""

from __future__ import annotations

import pytest

from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.records import CommittedOffset
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import RANGE, SESSION_MS, START_MS, World, subscription

T0 = ("orders", 0)
T1 = ("orders", 1)


def test_a_member_commits_and_reads_its_positions() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    assert ada.commit({T0: 5, T1: 7}) is ErrorCode.NONE
    assert world.offsets() == {T0: 5, T1: 7}
    assert world.restarted().offsets() == {T0: 5, T1: 7}


def test_everything_that_was_committed_comes_back() -> None:
    world = World()
    world.commit({T0: 5}, metadata="héllo")
    (topic,) = world.fetch({"orders": [0, 3]}).topics
    first, missing = topic.partitions
    assert (first.committed_offset, first.metadata, first.committed_leader_epoch) == (5, "héllo", -1)
    assert (missing.committed_offset, missing.metadata, missing.error_code) == (-1, "", ErrorCode.NONE)


def test_a_group_nobody_knows_has_no_offsets_and_no_error() -> None:
    world = World()
    answer = world.fetch({"orders": [0]}, group_id="ghost")
    assert (answer.error_code, answer.topics[0].partitions[0].committed_offset) == (0, -1)
    assert world.fetch(None, group_id="ghost").topics == []
    assert world.state("ghost") == "Dead"


def test_a_commit_from_outside_makes_a_group_of_offsets_alone() -> None:
    world = World()
    assert world.commit_error({T0: 1}) is ErrorCode.NONE
    assert (world.state(), world.group().protocol_type) == ("Empty", None)
    assert world.restarted().state() == "Empty"


@pytest.mark.parametrize(("version", "error"), [(9, ErrorCode.GROUP_ID_NOT_FOUND), (8, ErrorCode.ILLEGAL_GENERATION)])
def test_a_generation_of_an_unknown_group_is_refused(version: int, error: ErrorCode) -> None:
    assert World().commit_error({T0: 1}, generation=1, member_id="m", version=version) is error


def test_while_there_are_members_only_they_commit() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    assert world.commit_error({T0: 1}) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit_error({T0: 1}, member_id="ghost", generation=1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit_error({T0: 1}, member_id=ada.member_id, generation=0) is ErrorCode.ILLEGAL_GENERATION
    assert world.commit_error({T0: 1}, member_id=ada.member_id, generation=-1) is ErrorCode.ILLEGAL_GENERATION
    assert world.offsets() == {}


def test_a_commit_is_too_early_before_the_assignment_and_fine_before_the_next_generation() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join()
    assert follower.commit({T0: 1}) is ErrorCode.NONE, "of the generation that ends"
    follower.join()
    follower.take_join()
    assert follower.commit({T0: 2}) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_commit_keeps_the_session() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    for n in range(3):
        world.advance(SESSION_MS - 1)
        assert ada.commit({T0: n}) is ErrorCode.NONE
    assert world.state() == "Stable"


def test_a_commit_that_cannot_be_written_is_not_read() -> None:
    world = World()
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.commit({T0: 1}).refused is ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.offsets() == {}


def test_metadata_is_limited_partition_by_partition() -> None:
    world = World(offset_metadata_max_bytes=4)
    assert world.commit_error({T0: 1}, metadata="1234") is ErrorCode.NONE
    assert world.commit_error({T1: 1}, metadata="12345") is ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert world.offsets() == {T0: 1}


def test_offsets_of_a_topic_made_anew_are_not_those_of_the_old_one() -> None:
    world = World()
    old, new = b"o" * 16, b"n" * 16
    world.commit({T0: 5}, topic_id=old)
    assert world.fetch({"orders": [0]}, topic_id=old).topics[0].partitions[0].committed_offset == 5
    assert world.fetch({"orders": [0]}, topic_id=new).topics[0].partitions[0].committed_offset == -1
    assert world.fetch({"orders": [0]}).topics[0].partitions[0].committed_offset == 5, "asked by name alone"


# --- transactions (KIP-98, KIP-447): replayed, not yet decided on ----------------------------------------------------


def committed_in_transaction(world: World, partition: int, offset: int, producer_id: int) -> None:
    value = CommittedOffset(offset, -1, "", START_MS)
    world.write(records.offset_commit("g", "orders", partition, value), producer_id)


def test_an_offset_of_a_transaction_counts_when_it_is_committed() -> None:
    world = World()
    world.commit({T0: 1})
    committed_in_transaction(world, 0, 9, producer_id=7)
    assert world.offsets() == {T0: 1}
    unstable = world.fetch({"orders": [0, 1]}, require_stable=True).topics[0].partitions
    assert [p.error_code for p in unstable] == [ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.NONE]
    world.machine.replay_end_transaction(7, committed=True)
    assert world.offsets(require_stable=True) == {T0: 9}


def test_an_offset_of_an_aborted_transaction_never_counts() -> None:
    world = World()
    committed_in_transaction(world, 0, 9, producer_id=7)
    world.machine.replay_end_transaction(7, committed=False)
    assert world.offsets(require_stable=True) == {}
    world.machine.replay_end_transaction(7, committed=True)  # a marker without a transaction


def test_a_later_commit_overtakes_that_of_a_transaction() -> None:
    world = World()
    committed_in_transaction(world, 0, 9, producer_id=7)
    world.commit({T0: 11})
    world.machine.replay_end_transaction(7, committed=True)
    assert world.offsets() == {T0: 11}


def test_a_deleted_offset_is_deleted_from_open_transactions_too() -> None:
    world = World()
    for producer_id in (7, 8):
        committed_in_transaction(world, 0, 9, producer_id)
    world.delete_offsets({"orders": [0]})
    for producer_id in (7, 8):
        world.machine.replay_end_transaction(producer_id, committed=True)
    assert world.offsets(require_stable=True) == {}
    assert world.machine.offsets.snapshot() == ({}, {}, {})


# --- OffsetDelete ----------------------------------------------------------------------------------------------------


def deleted(world: World, wanted: dict[str, list[int]]) -> list[ErrorCode]:
    response = world.delete_offsets(wanted).ok()
    return [ErrorCode(p.error_code) for topic in response.topics for p in topic.partitions]


def test_offsets_of_topics_that_nobody_reads_can_be_deleted() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")  # reads orders
    ada.commit({T0: 1, ("users", 0): 2})
    assert deleted(world, {"orders": [0], "users": [0, 1]}) == [
        ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
        ErrorCode.NONE,
        ErrorCode.NONE,
    ]
    assert world.offsets() == {T0: 1}
    assert world.restarted().offsets() == {T0: 1}


@pytest.mark.parametrize("was_asked_before", [False, True])
def test_during_a_rebalance_what_members_ask_for_now_counts(was_asked_before: bool) -> None:
    world = World()
    ada, _ = world.stable("g", "ada", "bob")
    if was_asked_before:
        assert deleted(world, {"users": [0]}) == [ErrorCode.NONE]
    ada.join_arguments["protocols"] = (("range", subscription("users")),)
    ada.join().assert_parked()
    assert deleted(world, {"orders": [0], "users": [0]}) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC] * 2


def test_offsets_of_a_group_without_members_can_be_deleted() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    ada.commit({T0: 1})
    ada.leave()
    assert deleted(world, {"orders": [0]}) == [ErrorCode.NONE]
    assert world.offsets() == {}


def test_a_group_that_is_no_consumers_keeps_its_offsets_while_it_lives() -> None:
    world = World()
    world.stable("g", "ada", protocol_type="connect")
    world.delete_offsets({"orders": [0]}).assert_error(ErrorCode.NON_EMPTY_GROUP)
    world.delete_offsets({"orders": [0]}, "ghost").assert_error(ErrorCode.GROUP_ID_NOT_FOUND)


@pytest.mark.parametrize(
    "metadata", [b"", b"\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\1\0\x09ord", b"\xff\xff" + b"\0" * 9]
)
def test_a_subscription_that_cannot_be_read_counts_for_all_topics(metadata: bytes) -> None:
    world = World()
    world.stable("g", "ada", protocols=(("range", metadata),))
    assert deleted(world, {"anything": [0]}) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]


def test_newer_subscriptions_are_read_as_far_as_they_are_known() -> None:
    world = World()
    world.stable("g", "ada", protocols=(("range", b"\0\x09" + RANGE[0][1][2:] + b"future"),))
    assert deleted(world, {"orders": [0], "users": [0]}) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE]
