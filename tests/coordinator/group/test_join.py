"""JoinGroup: entering a group, ids, votes, limits."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import RANGE, SESSION_MS, World, subscription


def test_a_new_member_is_given_an_id_first_and_joins_with_it() -> None:
    world = World()

    told = world.join(client_id="app").assert_error(ErrorCode.MEMBER_ID_REQUIRED).response
    assert told.member_id.startswith("app-")
    assert len(told.member_id) == len("app-") + 36
    assert told.protocol_name is None

    joining = world.join(member_id=told.member_id).assert_parked()
    world.settle()
    response = joining.ok()
    assert response.member_id == told.member_id == response.leader
    assert response.generation_id == 1
    assert (response.protocol_type, response.protocol_name) == ("consumer", "range")
    assert [(m.member_id, m.metadata) for m in response.members] == [(told.member_id, RANGE[0][1])]
    assert world.state() == "CompletingRebalance"


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_before_version_4_a_new_member_is_taken_at_once(version: int) -> None:
    world = World()
    joining = world.join(version=version).assert_parked()
    world.settle()
    assert joining.ok().member_id


def test_the_first_request_writes_that_the_group_exists() -> None:
    world = World()
    world.join()
    assert world.state() == "Empty"
    assert world.restarted().state() == "Empty"


def test_a_group_that_cannot_be_written_does_not_come_to_be() -> None:
    world = World()
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.join().refused is ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.state() == "Dead"
    world.append_error = ErrorCode.NONE
    world.join().assert_error(ErrorCode.MEMBER_ID_REQUIRED)


def test_an_unknown_id_is_told_so_and_makes_no_group() -> None:
    world = World()
    response = world.join(member_id="ghost").assert_error(ErrorCode.UNKNOWN_MEMBER_ID).response
    assert response.member_id == "ghost"
    assert world.state() == "Dead"


@pytest.mark.parametrize(("protocol_type", "protocols"), [("", RANGE), ("consumer", ())])
def test_who_names_no_protocol_is_refused(protocol_type: str, protocols: tuple[tuple[str, bytes], ...]) -> None:
    world = World()
    world.join(protocol_type=protocol_type, protocols=protocols).assert_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    assert world.state() == "Dead"


def test_members_share_a_protocol_type_and_a_protocol() -> None:
    world = World()
    world.stable("g", "ada")
    world.join(protocol_type="connect").assert_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    world.join(protocols=(("sticky", b""),)).assert_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    world.join(protocols=(("sticky", b""), *RANGE)).assert_error(ErrorCode.MEMBER_ID_REQUIRED)


def test_the_protocol_with_most_votes_wins() -> None:
    world = World()
    preferences = [("a", "b"), ("b", "a"), ("b", "a")]
    consumers = [
        world.consumer(f"c{n}", protocols=tuple((name, b"") for name in names)) for n, names in enumerate(preferences)
    ]
    world.rebalance(*consumers)
    assert world.group().protocol_name == "b"


def test_only_protocols_that_all_can_do_are_voted_on() -> None:
    world = World()
    ada = world.consumer("ada", protocols=(("new", b""), ("old", b"")))
    bob = world.consumer("bob", protocols=(("newest", b""), ("old", b"")))
    world.rebalance(ada, bob)
    assert world.group().protocol_name == "old"


def test_a_protocol_named_twice_counts_once() -> None:
    world = World()
    ada = world.consumer("ada", protocols=(("range", b"1"), ("range", b"2"), ("range", b"3")))
    bob = world.consumer("bob", protocols=(("range", b"4"),))
    world.rebalance(ada, bob)
    assert [m.metadata for m in (ada if ada.leads else bob).members] == [b"1", b"4"]


def test_only_the_leader_is_told_who_else_is_there() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    leader, follower = (ada, bob) if ada.leads else (bob, ada)
    assert {m.member_id for m in leader.members} == {ada.member_id, bob.member_id}
    assert follower.members == []


def test_the_group_is_limited_to_its_size() -> None:
    world = World(max_size=2)
    ada, _ = world.stable("g", "ada", "bob")
    response = world.join().assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED).response
    assert response.member_id == ""
    ada.join()  # a member may always join again
    assert ada.joining.is_parked or ada.joining.error is ErrorCode.NONE


def test_a_rebalance_sheds_the_last_members_of_a_group_above_its_limit() -> None:
    world = World()
    consumers = world.stable("g", "ada", "bob", "cyd")
    smaller = world.restarted(max_size=2)
    assert smaller.state() == "PreparingRebalance"
    answers = [smaller.join(member_id=c.member_id) for c in consumers]
    answers[2].assert_error(ErrorCode.GROUP_MAX_SIZE_REACHED)
    assert [a.ok().generation_id for a in answers[:2]] == [2, 2], "nobody else is waited for"
    assert len(smaller.group().members) == 2


def test_a_follower_that_joins_again_unchanged_is_told_the_generation() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    follower = bob if ada.leads else ada
    response = follower.join().ok()
    assert (response.generation_id, response.members) == (follower.generation, [])
    assert world.state() == "Stable"


def test_a_follower_with_another_subscription_starts_a_rebalance() -> None:
    world = World()
    ada, bob = world.stable("g", "ada", "bob")
    follower = bob if ada.leads else ada
    follower.join_arguments["protocols"] = (("range", subscription("orders", "users")),)
    follower.join().assert_parked()
    assert world.state() == "PreparingRebalance"


def test_a_leader_that_joins_again_wants_a_rebalance() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    assert ada.join().ok().generation_id == 2


def test_a_member_that_missed_the_answer_to_its_join_gets_it_again() -> None:
    world = World()
    ada = world.consumer("ada")
    ada.join()
    world.settle()
    first = ada.take_join()
    again = ada.join().ok()
    assert again == first
    assert world.state() == "CompletingRebalance"


def test_a_changed_subscription_while_the_assignment_is_awaited_starts_anew() -> None:
    world = World()
    ada = world.consumer("ada")
    ada.join()
    world.settle()
    ada.take_join()
    ada.join_arguments["protocols"] = (("range", subscription("users")),)
    assert ada.join().ok().generation_id == 2


def test_a_join_that_is_sent_twice_is_answered_twice() -> None:
    world = World()
    ada, _ = world.stable("g", "ada", "bob")
    world.consumer("cyd").join()
    first = ada.join().assert_parked()
    second = ada.join().assert_parked()
    first.assert_error(ErrorCode.REBALANCE_IN_PROGRESS)
    assert world.group().awaiting_join == 2
    assert second.is_parked


def test_a_pending_member_is_no_static_member() -> None:
    world = World()
    member_id = world.join().response.member_id
    world.join(member_id=member_id, instance_id="i").assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_a_member_of_an_empty_group_starts_anew() -> None:
    world = World()
    (ada,) = world.stable("g", "ada")
    ada.leave()
    assert world.state() == "Empty"
    ada.joining = world.join(member_id=ada.member_id)
    ada.joining.assert_error(ErrorCode.UNKNOWN_MEMBER_ID)


def test_version_0_has_one_timeout_for_both() -> None:
    world = World()
    world.join(version=0, session_timeout_ms=7_000, rebalance_timeout_ms=-1)
    world.settle()
    (member,) = world.group().members.values()
    assert (member.session_timeout_ms, member.rebalance_timeout_ms) == (7_000, 7_000)


def test_a_pending_member_that_does_not_come_back_is_forgotten() -> None:
    world = World()
    told = world.join().response
    world.advance(SESSION_MS)
    world.join(member_id=told.member_id).assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    assert not world.group().pending_joins
