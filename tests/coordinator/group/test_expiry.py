"""The sweep: what is forgotten, and when (KIP-211)."""

from __future__ import annotations

from blumfeld.coordinator.group import expiry, records
from blumfeld.coordinator.group.records import CommittedOffset
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import SESSION_MS, START_MS, World

RETENTION = 100_000
CHECK = 10_000
T0 = ("orders", 0)


def world_with_retention() -> World:
    return World(offsets_retention_ms=RETENTION, retention_check_interval_ms=CHECK)


def test_offsets_of_no_group_expire_after_their_commit_each() -> None:
    world = world_with_retention()
    world.commit({T0: 1})
    world.advance(RETENTION // 2)
    world.commit({("orders", 1): 2})
    world.advance(RETENTION // 2)
    assert world.offsets() == {("orders", 1): 2}
    world.advance(RETENTION // 2)
    assert world.offsets() == {}
    assert world.state() == "Dead"
    assert world.restarted().state() == "Dead"


def test_offsets_of_a_group_that_was_left_expire_after_that() -> None:
    world = world_with_retention()
    (ada,) = world.stable("g", "ada")
    ada.commit({T0: 1})
    for _ in range(2 * RETENTION // SESSION_MS):
        world.advance(SESSION_MS - 1)
        ada.heartbeat()
    ada.leave()
    world.advance(RETENTION - CHECK)
    assert world.offsets() == {T0: 1}
    world.advance(2 * CHECK)
    assert world.state() == "Dead"


def test_a_living_consumer_group_keeps_what_it_reads() -> None:
    world = world_with_retention()
    (ada,) = world.stable("g", "ada")  # reads orders
    ada.commit({T0: 1, ("users", 0): 2})
    for _ in range(2 * RETENTION // SESSION_MS):
        world.advance(SESSION_MS - 1)
        ada.heartbeat()
    assert world.offsets() == {T0: 1}
    assert world.state() == "Stable"


def test_a_living_group_of_another_kind_keeps_everything() -> None:
    world = world_with_retention()
    (ada,) = world.stable("g", "ada", protocol_type="connect")
    ada.commit({T0: 1})
    for _ in range(2 * RETENTION // SESSION_MS):
        world.advance(SESSION_MS - 1)
        ada.heartbeat()
    assert world.offsets() == {T0: 1}


def test_a_client_may_say_how_long() -> None:
    """OffsetCommit up to version 4; it is kept as version 1 of the record."""
    world = world_with_retention()
    world.commit({T0: 1}, retention_ms=2 * CHECK, version=4)
    assert world.log[-1].value_bytes is not None
    assert world.log[-1].value_bytes[:2] == b"\0\1"
    world.advance(CHECK)
    assert world.restarted().offsets() == {T0: 1}
    world.advance(CHECK)
    assert world.offsets() == {}


def test_a_client_may_say_forever() -> None:
    world = world_with_retention()
    world.commit({T0: 1}, retention_ms=2**63 - 1, version=4)
    world.advance(2 * RETENTION)
    assert world.restarted().offsets() == {T0: 1}


def test_what_an_open_transaction_has_committed_stays() -> None:
    world = world_with_retention()
    world.commit({T0: 1})
    world.write(records.offset_commit("g", "orders", 0, CommittedOffset(9, -1, "", START_MS)), producer_id=7)
    world.advance(2 * RETENTION)
    assert world.offsets() == {T0: 1}
    world.machine.replay_end_transaction(7, committed=False)
    world.advance(CHECK)
    assert world.state() == "Dead"


def test_a_group_somebody_is_about_to_join_stays() -> None:
    world = world_with_retention()
    member_id = world.join(session_timeout_ms=2 * CHECK).response.member_id
    world.advance(CHECK)
    world.join(member_id=member_id).assert_parked()


def test_an_empty_group_that_never_came_to_be_goes() -> None:
    world = world_with_retention()
    world.join()
    world.advance(SESSION_MS + CHECK)
    assert world.state() == "Dead"


def test_a_sweep_is_done_in_turns() -> None:
    world = world_with_retention()
    count = 2 * expiry.TOMBSTONES_PER_TURN + 10
    world.commit({("orders", n): n for n in range(count)})
    world.commit({T0: 1}, group_id="other")
    world.advance(RETENTION - CHECK)
    written = len(world.log)
    world.advance(CHECK)
    assert len(world.log) - written <= expiry.TOMBSTONES_PER_TURN + 1
    world.advance(10 * expiry.NEXT_TURN_MS)
    assert (world.state(), world.state("other")) == ("Dead", "Dead")


def test_a_sweep_that_cannot_be_written_is_left_for_the_next_interval() -> None:
    world = world_with_retention()
    world.commit({T0: 1})
    world.append_error = ErrorCode.NOT_ENOUGH_REPLICAS
    world.advance(RETENTION)
    assert world.timers.left("sweep") == CHECK
    world.append_error = ErrorCode.NONE
    world.advance(CHECK)
    assert world.state() == "Dead"


def test_offsets_of_a_deleted_topic_go_at_once() -> None:
    world = world_with_retention()
    old, new = b"o" * 16, b"n" * 16
    world.commit({T0: 1}, topic_id=old)
    world.commit({("orders", 1): 2}, topic_id=new)
    world.commit({("orders", 2): 3})
    world.commit({("users", 0): 4}, topic_id=old, group_id="h")
    world.carry_out(world.machine.forget_topics([("orders", old), ("users", new)]))
    assert world.offsets() == {("orders", 1): 2}, "one without an id counts as the old one's"
    assert world.offsets("h") == {("users", 0): 4}
