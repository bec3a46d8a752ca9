"""DescribeGroups, ListGroups, DeleteGroups."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import RANGE, World

T0 = ("orders", 0)


def test_a_stable_group_is_described_in_full() -> None:
    world = World()
    ada = world.consumer("ada", instance_id="i")
    world.rebalance(ada)
    group = world.machine.describe("g", 6)
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    (member,) = group.members
    assert (member.member_id, member.group_instance_id) == (ada.member_id, "i")
    assert (member.client_id, member.client_host) == ("ada", "/127.0.0.1")
    assert (member.member_metadata, member.member_assignment) == (RANGE[0][1], ada.expects)


def test_during_a_rebalance_subscriptions_are_not_shown() -> None:
    world = World()
    ada, _ = world.stable("g", "ada", "bob")
    ada.join()
    group = world.machine.describe("g", 6)
    assert group.group_state == "PreparingRebalance"
    assert (group.protocol_data, {m.member_metadata for m in group.members}) == ("", {b""})


@pytest.mark.parametrize(("version", "error"), [(5, ErrorCode.NONE), (6, ErrorCode.GROUP_ID_NOT_FOUND)])
def test_an_unknown_group_is_dead(version: int, error: ErrorCode) -> None:
    group = World().machine.describe("ghost", version)
    assert (group.group_state, group.error_code) == ("Dead", error)
    assert (group.error_message is not None) == (version == 6)


@pytest.mark.parametrize(
    ("states", "types", "found"),
    [
        ([], [], {"stable", "empty", "alone"}),
        (["Stable"], [], {"stable"}),
        ([" stable ", "EMPTY"], [], {"stable", "empty", "alone"}),
        (["Stable", "nonsense"], ["Classic"], {"stable"}),
        (["nonsense"], [], set()),
        ([], ["consumer"], set()),
        ([], ["consumer", "classic"], {"stable", "empty", "alone"}),
        ([], ["nonsense"], set()),
    ],
)
def test_groups_are_listed_by_state_and_type(states: list[str], types: list[str], found: set[str]) -> None:
    world = World()
    world.stable("stable", "ada")
    world.stable("empty", "bob")[0].leave()
    world.commit({T0: 1}, group_id="alone")
    assert {group.group_id for group in world.machine.list(states, types)} == found


def test_what_is_listed_of_a_group() -> None:
    world = World()
    world.stable("g", "ada")
    (group,) = world.machine.list([], [])
    assert (group.protocol_type, group.group_state, group.group_type) == ("consumer", "Stable", "classic")


def test_only_groups_without_members_are_deleted_with_their_offsets() -> None:
    world = World()
    world.stable("alive", "ada")
    world.stable("left", "bob")[0].leave()
    for group_id in ("left", "alone"):
        world.commit({T0: 1, ("orders", 1): 2}, group_id=group_id)
    assert world.delete("alive", "left", "alone", "ghost") == [
        ErrorCode.NON_EMPTY_GROUP,
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.GROUP_ID_NOT_FOUND,
    ]
    again = world.restarted()
    for w in (world, again):
        assert [w.state(g) for g in ("alive", "left", "alone")] == ["Stable", "Dead", "Dead"]
        assert w.offsets("left") == w.offsets("alone") == {}
