"""Phases and their deadlines: who is waited for, how long, and what follows."""

from __future__ import annotations

from blumfeld.coordinator.group.config import NEW_MEMBER_JOIN_TIMEOUT_MS
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import REBALANCE_MS, SESSION_MS, World


def test_the_first_rebalance_gives_others_time_to_come() -> None:
    world = World(initial_rebalance_delay_ms=3_000)
    ada, bob = world.consumer("ada"), world.consumer("bob")
    ada.join().assert_parked()
    world.advance(2_999)
    bob.join().assert_parked()
    world.advance(1)
    ada.joining.assert_parked()  # somebody came, so there is more time
    world.advance(2_999)
    ada.joining.assert_parked()
    world.advance(1)
    assert len(ada.joining.ok().members) == 2
    bob.joining.ok()
    assert world.group().generation == 1


def test_the_first_rebalance_ends_at_the_rebalance_timeout() -> None:
    world = World(initial_rebalance_delay_ms=3_000)
    first = world.consumer("first", rebalance_timeout_ms=7_000)
    first.join()
    for name in ("second", "third"):
        world.advance(2_500)
        world.consumer(name, rebalance_timeout_ms=7_000).join()
    world.advance(1_999)
    first.joining.assert_parked()
    world.advance(1)
    first.joining.ok()


def test_nobody_new_means_the_first_rebalance_takes_one_delay() -> None:
    world = World(initial_rebalance_delay_ms=3_000)
    ada = world.consumer("ada")
    ada.join()
    world.advance(2_999)
    ada.joining.assert_parked()
    world.advance(1)
    ada.joining.ok()


def test_members_have_the_rebalance_timeout_to_come_back() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    cyd = world.consumer("cyd")
    cyd.join().assert_parked()
    bob.join()
    waited = 0
    while cyd.joining.is_parked and waited < 2 * REBALANCE_MS:
        world.advance(SESSION_MS // 2)
        ada.heartbeat()
        waited += SESSION_MS // 2
    assert waited == REBALANCE_MS
    assert set(world.group().members) == {bob.member_id, cyd.member_id}
    ada.heartbeat().assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_the_slowest_member_sets_the_time() -> None:
    world = World()
    ada = world.consumer("ada", rebalance_timeout_ms=20_000)
    bob = world.consumer("bob", rebalance_timeout_ms=90_000)
    world.rebalance(ada, bob)
    world.consumer("cyd").join()
    assert world.timers.left("join", "g") == 90_000


def test_the_leader_that_does_not_come_back_is_replaced() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    world.consumer("cyd").join()
    follower.join().assert_parked()
    world.advance(SESSION_MS)
    assert follower.joining.ok().leader != leader.member_id


def test_a_member_that_fails_starts_a_rebalance() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    world.advance(SESSION_MS - 1)
    ada.heartbeat().ok()
    world.advance(1)
    assert world.state() == "PreparingRebalance"
    ada.heartbeat().assert_error(ErrorCode.REBALANCE_IN_PROGRESS)
    bob.heartbeat().assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    assert ada.join().ok().generation_id == 2


def test_a_group_whose_members_all_fail_is_empty_and_the_log_says_so() -> None:
    world = World()
    world.stable("g", "ada", "bob")
    world.advance(SESSION_MS + REBALANCE_MS)
    assert world.state() == "Empty"
    assert (world.group().generation, world.group().protocol_type) == (2, "consumer")
    assert world.restarted().state() == "Empty"


def test_that_a_group_is_empty_is_written_in_the_end() -> None:
    world = World()
    world.stable("g", "ada")
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    world.advance(SESSION_MS)
    assert world.state() == "PreparingRebalance"
    world.advance(30_000)
    world.append_error = ErrorCode.NONE
    world.advance(1_000)
    assert world.state() == "Empty"
    assert world.timers.left("join", "g") is None


def test_a_parked_member_does_not_fail() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join().assert_parked()
    for _ in range(5):
        world.advance(SESSION_MS - 1)
        follower.heartbeat()
    leader.joining.assert_parked()
    follower.join().ok()
    leader.joining.ok()


def test_a_new_member_that_is_never_answered_is_given_up() -> None:
    world = World()
    ada = world.stable("g", "ada")[0]
    new = world.consumer("new", rebalance_timeout_ms=2 * NEW_MEMBER_JOIN_TIMEOUT_MS)
    new.join().assert_parked()
    for _ in range(NEW_MEMBER_JOIN_TIMEOUT_MS // 5_000):
        world.advance(5_000)
        ada.heartbeat()
    new.joining.assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_a_pending_member_holds_the_rebalance_up_until_it_expires() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    world.join().assert_error(ErrorCode.MEMBER_ID_REQUIRED)
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join().assert_parked()
    follower.join().assert_parked()
    world.advance(SESSION_MS)
    leader.joining.ok()
    follower.joining.ok()


def test_after_a_restart_members_go_on_in_their_generation() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    again = world.restarted()
    for consumer in (ada, bob):
        consumer.world = again
        consumer.heartbeat().ok()
        assert consumer.sync().ok().assignment == consumer.expects
        assert consumer.commit({("orders", 0): 1}) is ErrorCode.NONE


def test_after_a_restart_silence_counts_from_then() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    world.advance(SESSION_MS - 1)
    again = world.restarted()
    again.advance(SESSION_MS - 1)
    assert again.state() == "Stable"
    again.advance(1)
    assert again.state() == "Empty"
    assert ada.member_id not in again.group().members


def test_a_restart_during_a_rebalance_brings_the_last_generation_back() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    world.consumer("cyd").join()
    again = world.restarted()
    assert again.state() == "Stable"
    assert set(again.group().members) == {ada.member_id, bob.member_id}


def test_absurd_rebalance_timeouts_are_no_trouble() -> None:
    world = World()
    for timeout in (-(2**31), -1, 0, 2**31 - 1):
        consumer = world.consumer(f"c{timeout}", rebalance_timeout_ms=timeout)
        consumer.join()
        world.advance(REBALANCE_MS)
    world.advance(2**31)
    assert world.state() == "Dead", "everybody has failed, and the sweep has passed"


def test_a_member_whose_connection_closed_is_given_less_time() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    world.machine.hurry("g", ada.member_id, 500)
    world.advance(499)
    ada.heartbeat().ok()
    world.advance(500)
    assert world.state() == "Stable", "it is alive after all"
    world.machine.hurry("g", ada.member_id, 500)
    world.advance(500)
    assert world.state() == "Empty"
    world.machine.hurry("g", ada.member_id, 500)
    world.machine.hurry("ghost", "ghost", 500)


def test_a_static_member_whose_connection_closed_keeps_its_session() -> None:
    world = World()
    (ada,) = world.stable("g", "ada", instance_id="i")
    world.machine.hurry("g", ada.member_id, 500)
    world.advance(SESSION_MS - 1)
    assert world.state() == "Stable"
