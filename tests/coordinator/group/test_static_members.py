"""Static members (KIP-345): a place in the group that outlives the process which takes it."""

from __future__ import annotations

import pytest

from blumfeld.coordinator.decision import Decision
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import RANGE, REBALANCE_MS, SESSION_MS, Consumer, World


def statics(world: World, *names: str) -> list[Consumer]:
    """A stable group of static members, each named by its instance id."""
    consumers = [world.consumer(name, instance_id=name) for name in names]
    world.rebalance(*consumers)
    return consumers


def test_a_static_member_is_taken_at_once_under_an_id_of_its_own() -> None:
    world = World()
    (ada,) = statics(world, "ada")
    assert ada.member_id.startswith("ada-")
    assert world.group().static_members == {"ada": ada.member_id}


def test_it_comes_back_without_a_rebalance() -> None:
    world = World()
    ada, bob = statics(world, "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    generation, assignment = follower.generation, follower.syncing.ok().assignment
    old_id = follower.member_id

    follower.member_id = ""
    response = follower.join().ok()
    assert response.member_id not in ("", old_id)
    assert (response.generation_id, response.leader) == (generation, leader.member_id)
    assert (response.members, response.skip_assignment) == ([], False)
    follower.take_join()
    assert follower.sync().ok().assignment == assignment
    world.heartbeat(old_id, generation).assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    world.heartbeat(old_id, generation, instance_id=follower.name).assert_error(ErrorCode.FENCED_INSTANCE_ID)
    assert world.state() == "Stable"
    assert world.restarted().group().static_members[follower.name] == follower.member_id


def test_a_leader_that_comes_back_leads_and_skips_the_assignment() -> None:
    world = World()
    ada, bob = statics(world, "ada", "bob")
    leader = ada if ada.leads else bob
    leader.member_id = ""
    response = leader.join().ok()
    assert response.leader == response.member_id == world.group().leader
    assert response.skip_assignment
    assert len(response.members) == 2


def test_before_version_9_a_leader_that_comes_back_is_told_of_its_old_id() -> None:
    """It could not skip the assignment, so it must not take itself for the leader."""
    world = World()
    ada, bob = statics(world, "ada", "bob")
    leader = ada if ada.leads else bob
    response = world.join(instance_id=leader.name, version=8).ok()
    assert response.leader == leader.member_id != response.member_id
    assert (response.skip_assignment, response.members) == (False, [])


def test_if_its_return_cannot_be_written_nothing_has_changed() -> None:
    world = World()
    ada, _ = statics(world, "ada", "bob")
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.join(instance_id="ada").refused is ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.group().static_members["ada"] == ada.member_id
    ada.heartbeat().ok()


def test_it_comes_back_with_another_choice_of_protocol() -> None:
    world = World()
    both = (("range", b""), ("sticky", b""))
    consumers = [world.consumer(name, instance_id=name, protocols=both) for name in ("ada", "bob", "cyd")]
    world.rebalance(*consumers)
    for name in ("ada", "bob"):
        world.join(instance_id=name, protocols=both[::-1])
    assert world.state() == "PreparingRebalance", "sticky has two votes of three"


def test_its_other_protocols_are_remembered_when_it_came_back() -> None:
    world = World()
    both = (("range", b""), ("sticky", b""))
    consumers = [world.consumer(name, instance_id=name, protocols=both) for name in ("ada", "bob")]
    world.rebalance(*consumers)
    world.join(instance_id="ada", protocols=both)
    dynamic = world.join(protocols=(("sticky", b""),))
    dynamic.assert_error(ErrorCode.MEMBER_ID_REQUIRED)


def test_it_comes_back_while_the_group_prepares() -> None:
    world = World()
    ada, bob = statics(world, "ada", "bob")
    world.consumer("cyd").join()
    parked = ada.join().assert_parked()
    back = world.join(instance_id="ada").assert_parked()
    assert parked.assert_error(ErrorCode.FENCED_INSTANCE_ID).response.member_id == ada.member_id
    bob.join()
    assert back.ok().member_id == world.group().static_members["ada"]
    assert len(world.group().members) == 3


def test_it_comes_back_before_its_first_join_was_answered_and_may_wait_as_long_as_others() -> None:
    world = World()
    (bob,) = world.stable("g", "bob", session_timeout_ms=REBALANCE_MS)
    world.join(instance_id="ada").assert_parked()
    back = world.join(instance_id="ada").assert_parked()
    world.advance(SESSION_MS)
    back.assert_parked()
    bob.join()
    assert back.ok().generation_id == 2


def test_it_comes_back_while_the_assignment_is_awaited() -> None:
    world = World()
    ada, bob = statics(world, "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join()
    follower.join()
    follower.take_join()
    parked = follower.sync().assert_parked()
    world.join(instance_id=follower.name).assert_parked()
    parked.assert_error(ErrorCode.FENCED_INSTANCE_ID)
    assert world.state() == "PreparingRebalance"


def test_it_keeps_its_place_while_it_is_away_until_its_session_ends() -> None:
    world = World()
    ada = world.consumer("ada", instance_id="ada", session_timeout_ms=2 * REBALANCE_MS)
    bob = world.consumer("bob", session_timeout_ms=2 * REBALANCE_MS)
    world.rebalance(ada, bob)
    bob.join_arguments["protocols"] = (("range", b"new"),)
    bob.join()
    world.advance(REBALANCE_MS)
    assert bob.joining.ok().generation_id == 2
    assert ada.member_id in world.group().members


def test_a_group_of_static_members_that_are_all_away_waits_for_their_sessions() -> None:
    world = World()
    consumers = [world.consumer(name, instance_id=name, session_timeout_ms=4 * REBALANCE_MS) for name in ("ada", "bob")]
    world.rebalance(*consumers)
    world.leave(("", "ada"))
    world.advance(3 * REBALANCE_MS)
    assert world.state() == "PreparingRebalance"
    world.advance(REBALANCE_MS)
    assert world.state() == "Empty"


def test_waiting_for_members_that_are_away_costs_nothing_even_where_they_gave_no_time() -> None:
    world = World()
    statics(world, "ada", "bob")
    for name in ("ada", "bob"):
        world.join(instance_id=name, rebalance_timeout_ms=0).ok()
    looks = []
    expire = world.machine.expire

    def count(key: tuple[str, ...], now_ms: int) -> Decision:
        looks.append(key)
        assert len(looks) < 100
        return expire(key, now_ms)

    world.machine.expire = count  # type: ignore[method-assign]
    world.leave(("", "ada"))
    world.advance(SESSION_MS)
    assert world.state() == "Empty"


def test_an_instance_that_joins_under_the_id_of_another_is_fenced() -> None:
    world = World()
    ada, _ = statics(world, "ada", "bob")
    world.join(member_id=ada.member_id, instance_id="bob").assert_error(ErrorCode.FENCED_INSTANCE_ID)
    world.join(member_id=ada.member_id, instance_id="eve").assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    world.sync(ada.member_id, 1, instance_id="bob").assert_error(ErrorCode.FENCED_INSTANCE_ID)
    assert (
        world.commit_error({("t", 0): 1}, member_id=ada.member_id, generation=1, instance_id="bob")
        is ErrorCode.FENCED_INSTANCE_ID
    )


def test_the_size_limit_holds_for_static_members_too() -> None:
    world = World(max_size=1)
    statics(world, "ada")
    world.join(instance_id="bob").assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)


def test_the_group_forgets_the_old_id_for_good() -> None:
    """A member that had not synced when it came back does not pull the group down later."""
    world = World()
    ada, bob = statics(world, "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    leader.join()
    follower.join()
    leader.take_join()
    follower.take_join()
    leader.sync().ok()
    follower.member_id = ""
    follower.join()
    follower.take_join()
    follower.sync().ok()
    for _ in range(2 * REBALANCE_MS // (SESSION_MS // 2)):
        world.advance(SESSION_MS // 2)
        leader.heartbeat().ok()
        follower.heartbeat().ok()


@pytest.mark.parametrize("version", [5, 9])
def test_a_lone_static_member_may_bring_new_protocols(version: int) -> None:
    world = World()
    statics(world, "ada")
    world.join(instance_id="ada", protocols=(*RANGE, ("sticky", b"")), version=version).ok()
