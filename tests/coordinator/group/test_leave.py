"""LeaveGroup: one member, several, static ones by instance."""

from __future__ import annotations

from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import World


def errors(response: object) -> list[ErrorCode]:
    return [ErrorCode(m.error_code) for m in response.members]  # type: ignore[attr-defined]


def test_the_last_member_that_leaves_empties_the_group() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    assert errors(ada.leave().ok()) == [ErrorCode.NONE]
    assert (world.state(), world.group().generation) == ("Empty", 2)
    assert world.restarted().state() == "Empty"


def test_a_member_that_leaves_starts_a_rebalance() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    bob.leave().ok()
    assert world.state() == "PreparingRebalance"
    assert ada.join().ok().generation_id == 2


def test_a_leaver_without_any_name_is_nobody() -> None:
    world = World()
    world.rebalance(world.consumer("ada", instance_id=""))
    assert errors(world.leave(("", None)).ok()) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert errors(world.leave(("", "")).ok()) == [ErrorCode.NONE]


def test_the_rebalance_does_not_wait_for_one_that_leaves() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join().assert_parked()
    follower.leave()
    assert len(leader.joining.ok().members) == 1


def test_a_parked_member_that_leaves_is_answered() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader = ada if ada.leads else bob
    parked = leader.join().assert_parked()
    leader.leave()
    assert parked.assert_error(ErrorCode.UNKNOWN_MEMBER_ID).response.member_id == ""


def test_a_member_that_leaves_while_it_waits_for_its_assignment_is_answered() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join()
    follower.join()
    follower.take_join()
    parked = follower.sync().assert_parked()
    follower.leave()
    parked.assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_several_leave_at_once_each_with_its_own_answer() -> None:
    world = World()
    ada = world.consumer("ada")
    bob = world.consumer("bob", instance_id="bob")
    cyd = world.consumer("cyd")
    world.rebalance(ada, bob, cyd)
    response = world.leave(ada.member_id, "ghost", ("", "bob"), ("", "eve"), ada.member_id).ok()
    assert errors(response) == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]
    assert [m.group_instance_id for m in response.members] == [None, None, "bob", "eve", None]
    assert set(world.group().members) == {cyd.member_id}


def test_an_instance_id_of_somebody_else_is_fenced() -> None:
    world = World()
    bob = world.consumer("bob", instance_id="bob")
    cyd = world.consumer("cyd")
    world.rebalance(bob, cyd)
    assert errors(world.leave((cyd.member_id, "bob")).ok()) == [ErrorCode.FENCED_INSTANCE_ID]
    assert errors(world.leave((bob.member_id, "bob")).ok()) == [ErrorCode.NONE]


def test_a_pending_member_leaves_without_disturbing_anybody() -> None:
    world = World()
    world.stable("g", "ada")
    pending = world.join().response.member_id
    assert errors(world.leave(pending).ok()) == [ErrorCode.NONE]
    assert world.state() == "Stable"
    assert world.timers.left("session", "g", pending) is None


def test_a_pending_member_that_leaves_is_not_waited_for() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    pending = world.join().response.member_id
    ada.join().assert_parked()
    world.leave(pending)
    ada.joining.ok()


def test_who_leaves_an_unknown_or_empty_group_is_unknown() -> None:
    world = World()
    assert errors(world.leave("ghost").ok()) == [ErrorCode.UNKNOWN_MEMBER_ID]
    (ada,) = world.stable("g", "ada")
    ada.leave()
    assert errors(ada.leave().ok()) == [ErrorCode.UNKNOWN_MEMBER_ID]


def test_a_leave_that_cannot_be_written_is_refused_and_made_good_later() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    assert ada.leave().refused is ErrorCode.NOT_ENOUGH_REPLICAS
    world.append_error = ErrorCode.NONE
    world.advance(1_000)
    assert world.state() == "Empty"
