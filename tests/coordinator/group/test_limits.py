"""Hostile and enormous input: refused early, and never more than linear work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from blumfeld.coordinator.group import join as join_module
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import SESSION_MS, World


def joined(world: World, count: int) -> list[str]:
    """So many members of one generation, all synced; their ids, the leader's first."""
    ids = [world.join().response.member_id for _ in range(count)]
    joins = [world.join(member_id=member_id) for member_id in ids]
    world.settle()
    assert all(j.ok() for j in joins)
    generation = world.group().generation
    leader = world.group().leader
    assert leader is not None
    ids.sort(key=lambda member_id: member_id != leader)
    followers = [world.sync(member_id, generation) for member_id in ids[1:]]
    world.sync(leader, generation, dict.fromkeys(ids, b"a")).ok()
    assert all(f.ok() for f in followers)
    return ids


def test_members_whose_record_could_not_be_written_are_not_let_in() -> None:
    world = World()
    world.max_record_bytes = 1_000
    (ada,) = world.stable("g", "ada", protocols=(("range", b"x" * 600),))
    world.join(protocols=(("range", b"x" * 401),)).assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)
    world.join(protocols=(("range", b"x" * 400),)).assert_error(ErrorCode.MEMBER_ID_REQUIRED)
    ada.join_arguments["protocols"] = (("range", b"x" * 1_001),)
    ada.join().assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)
    ada.join_arguments["protocols"] = (("range", b"x" * 1_000),)
    assert world.state() == "Stable", "nobody else was disturbed"
    ada.join()
    assert world.state() == "PreparingRebalance"


def test_a_static_member_that_comes_back_takes_the_room_that_it_had() -> None:
    world = World()
    world.max_record_bytes = 1_000
    world.rebalance(world.consumer("ada", instance_id="ada", protocols=(("range", b"x" * 600),)))
    world.join(instance_id="ada", protocols=(("range", b"x" * 1_001),)).assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)
    world.join(instance_id="ada", protocols=(("range", b"x" * 1_000),)).ok()
    world.join(instance_id="bob").assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)


def test_ids_that_are_never_used_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_module, "MAX_PENDING_JOINS", 3)
    world = World()
    first = [world.join() for _ in range(3)]
    world.join().assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)
    world.join(member_id=first[0].response.member_id).assert_parked()
    world.join().assert_error(ErrorCode.MEMBER_ID_REQUIRED)
    world.advance(SESSION_MS)
    world.join().assert_error(ErrorCode.MEMBER_ID_REQUIRED)


@pytest.mark.parametrize("longest", ["x" * 32_767, "\N{GRINNING FACE}" * 8_191], ids=["letters", "signs"])
def test_a_member_with_the_longest_of_names_does_not_keep_its_group_from_being_written(longest: str) -> None:
    world = World()
    (bob,) = world.stable("g", "bob")
    static = world.join(instance_id=longest)
    dynamic = world.join(client_id=longest, version=3)
    bob.join()
    assert len(bob.take_join().members) == 3
    bob.sync().ok()
    assert world.state() == "Stable"
    for joined in (static, dynamic):
        joined.ok().encode(5)
    assert set(world.restarted().group().members) == set(world.group().members)


def test_an_enormous_commit_is_refused_before_it_is_built() -> None:
    world = World()
    world.max_record_bytes = 10_000
    many = world.commit({("t", n): n for n in range(251)})
    assert {p.error_code for t in many.response.topics for p in t.partitions} == {ErrorCode.UNKNOWN_SERVER_ERROR}
    assert world.offsets() == {}
    assert world.commit_error({("t", n): n for n in range(250)}) is ErrorCode.NONE


def test_thousands_of_members_go_through_everything() -> None:
    world = World()
    ids = joined(world, 3_000)
    generation = world.group().generation
    assert len(world.machine.describe("g", 6).members) == 3_000
    for member_id in ids:
        world.heartbeat(member_id, generation).ok()
    assert len(world.restarted().group().members) == 3_000
    world.leave(*ids[1:]).ok()
    assert world.join(member_id=ids[0]).ok().generation_id == generation + 1
    world.advance(SESSION_MS)
    assert world.state() == "Empty"


def costs(work: Callable[[int], object], size: int) -> int:
    """Function calls, Python's and C's: a measure that no other load of the machine changes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work(size)
    finally:
        sys.setprofile(None)
    return calls


def test_costs_are_linear_in_the_number_of_members() -> None:
    """Four times the members cost about four times as much; quadratic work would cost sixteen times."""
    small = costs(lambda n: joined(World(), n), 250)
    large = costs(lambda n: joined(World(), n), 1_000)
    assert large < 5 * small
