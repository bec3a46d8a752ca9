"""SyncGroup and Heartbeat: the assignment becomes durable, then known."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import SESSION_MS, Consumer, World


def joined(world: World, *names: str) -> tuple[Consumer, list[Consumer]]:
    """Consumers that have joined one generation and not synced yet: the leader and the others."""
    consumers = world.stable("g", *names)
    first = consumers[0]
    leader = next(c for c in consumers if c.leads)
    leader.join()
    for consumer in consumers:
        if consumer is not leader:
            consumer.join()
    for consumer in consumers:
        consumer.take_join()
    assert first.generation == world.group().generation
    leader = next(c for c in consumers if c.leads)
    return leader, [c for c in consumers if c is not leader]


def test_everybody_gets_its_own_assignment_and_the_log_has_them() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    assert ada.syncing.ok().assignment == ada.expects
    assert bob.syncing.ok().assignment == bob.expects
    assert world.state() == "Stable"
    loaded = world.restarted().group()
    assert {m.member_id: m.assignment for m in loaded.members.values()} == {
        ada.member_id: ada.expects,
        bob.member_id: bob.expects,
    }


def test_followers_wait_for_the_leader() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    follower.sync().assert_parked()
    leader.sync()
    assert follower.syncing.ok().assignment == follower.expects


def test_a_follower_that_comes_later_finds_its_assignment() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    leader.sync().ok()
    assert follower.sync().ok().assignment == follower.expects


def test_the_answer_names_type_and_protocol() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    response = ada.syncing.ok()
    assert (response.protocol_type, response.protocol_name) == ("consumer", "range")


def test_members_that_the_leader_forgot_get_an_empty_assignment() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    follower.sync()
    leader.sync({leader.member_id: b"all"})
    assert follower.syncing.ok().assignment == b""


def test_an_assignment_for_a_stranger_is_ignored() -> None:
    world = World()
    leader, _ = joined(world, "ada")
    leader.sync({"stranger": b"x", leader.member_id: b"mine"})
    assert leader.syncing.ok().assignment == b"mine"


def test_an_assignment_that_cannot_be_written_is_told_to_nobody() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    follower.sync().assert_parked()
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    assert leader.sync().refused is ErrorCode.NOT_ENOUGH_REPLICAS
    follower.syncing.assert_parked()
    assert world.state() == "CompletingRebalance"

    world.append_error = ErrorCode.NONE
    assert leader.join().ok().generation_id == leader.generation, "nothing has changed for it"
    leader.sync().ok()
    follower.syncing.ok()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"generation": -1}, ErrorCode.ILLEGAL_GENERATION),
        ({"member_id": "ghost"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"instance_id": "ghost"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"group_id": "ghost"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"protocol_type": "connect"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_name": "sticky"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": "consumer", "protocol_name": "range"}, ErrorCode.NONE),
    ],
)
def test_a_sync_that_does_not_fit_is_refused(said: dict[str, str], error: ErrorCode) -> None:
    world = World()
    leader, _ = joined(world, "ada")
    arguments = {"member_id": leader.member_id, "generation": leader.generation, **said}
    world.sync(**arguments).assert_error(error)  # type: ignore[arg-type]  # a table of keywords


def test_a_rebalance_sends_those_who_wait_for_the_assignment_back() -> None:
    world = World()
    _, (follower,) = joined(world, "ada", "bob")
    follower.sync().assert_parked()
    world.consumer("cyd").join()
    follower.syncing.assert_error(ErrorCode.REBALANCE_IN_PROGRESS)
    follower.sync().assert_error(ErrorCode.REBALANCE_IN_PROGRESS)


def test_who_does_not_sync_in_time_is_out() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    leader.sync().ok()
    for _ in range(20):
        world.advance(SESSION_MS // 2)
        leader.heartbeat()
        follower.heartbeat()
    assert follower.member_id not in world.group().members
    assert leader.join().ok().generation_id == leader.generation + 1


def test_a_sync_sent_twice_is_answered_twice() -> None:
    world = World()
    leader, (follower,) = joined(world, "ada", "bob")
    first = follower.sync().assert_parked()
    second = follower.sync()
    first.assert_error(ErrorCode.REBALANCE_IN_PROGRESS)
    leader.sync()
    second.ok()


# --- Heartbeat -------------------------------------------------------------------------------------------------------


def test_heartbeats_keep_a_session_and_silence_ends_it() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    for _ in range(5):
        world.advance(SESSION_MS - 1)
        ada.heartbeat().ok()
        bob.heartbeat().ok()
    world.advance(SESSION_MS - 1)
    ada.heartbeat().ok()
    world.advance(1)
    ada.heartbeat().assert_error(ErrorCode.REBALANCE_IN_PROGRESS)
    bob.heartbeat().assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_a_heartbeat_tells_of_a_rebalance() -> None:
    world = World()
    ada, _ = world.stable("g", "ada", "bob")
    world.consumer("cyd").join()
    ada.heartbeat().assert_error(ErrorCode.REBALANCE_IN_PROGRESS)


def test_a_heartbeat_is_fine_while_the_assignment_is_awaited() -> None:
    world = World()
    leader, _ = joined(world, "ada")
    leader.heartbeat().ok()


def test_a_heartbeat_of_an_old_generation_is_refused() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    world.heartbeat(ada.member_id, 0).assert_error(ErrorCode.ILLEGAL_GENERATION)
    world.heartbeat(ada.member_id, 2).assert_error(ErrorCode.ILLEGAL_GENERATION)
    world.heartbeat("ghost", 1).assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    world.heartbeat(ada.member_id, 1, group_id="ghost").assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
