"""Incremental fetch sessions on the serving side (KIP-227)."""

from __future__ import annotations

import pytest

from blumfeld.broker.sessions import FetchSessions, Plan
from blumfeld.env.entropy import SeededEntropy
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchRequest
from tests.cluster.world import World

NAMES_VERSION = 12
IDS_VERSION = 17


@pytest.fixture
def world() -> World:
    world = World(1)
    world.create_topic([1], partitions=4)
    return world


class Reader:
    """A consumer or follower that keeps a session by hand."""

    def __init__(self, world: World, sessions: FetchSessions, *, is_follower: bool = False) -> None:
        self.world = world
        self.sessions = sessions
        self.is_follower = is_follower
        self.id = 0
        self.epoch = 0

    def ask(self, *indexes: int, forget: tuple[int, ...] = (), version: int = IDS_VERSION, offset: int = 0) -> Plan:
        topic_id = self.world.image.topics.by_name["t"].id
        asked = FetchRequest.Topic.Partition
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            session_id=self.id,
            session_epoch=self.epoch,
            topics=[
                FetchRequest.Topic(
                    topic="t",
                    topic_id=topic_id,
                    partitions=[asked(partition=i, fetch_offset=offset, partition_max_bytes=1000) for i in indexes],
                )
            ]
            if indexes
            else [],
            forgotten_topics_data=[FetchRequest.ForgottenTopic(topic="t", topic_id=topic_id, partitions=list(forget))]
            if forget
            else [],
        )
        plan = self.sessions.begin(
            request,
            version,
            is_follower=self.is_follower,
            replicas=self.world[1].replicas,
            entropy=SeededEntropy(len(self.sessions)),
            now=self.world.clock.monotonic(),
        )
        if plan.session is not None:
            self.id, self.epoch = plan.session.id, plan.session.epoch
        return plan


def test_a_full_request_makes_a_session_and_the_next_names_only_changes(world: World) -> None:
    reader = Reader(world, FetchSessions())
    plan = reader.ask(0, 1, 2)
    assert plan.session is not None
    assert [entry.index for entry in plan.entries] == [0, 1, 2]
    plan.session.ready.clear()
    plan = reader.ask(1, offset=5)
    assert plan.incremental
    assert [(entry.index, entry.offset) for entry in plan.entries] == [(1, 5)]
    assert len(plan.session.entries if plan.session else ()) == 3


def test_partitions_are_added_and_forgotten(world: World) -> None:
    reader = Reader(world, FetchSessions())
    reader.ask(0, 1)
    plan = reader.ask(3, forget=(0,))
    assert plan.session is not None
    assert sorted(entry.index for entry in plan.session.entries.values()) == [1, 3]


def test_a_session_from_which_all_was_forgotten_ends(world: World) -> None:
    sessions = FetchSessions()
    reader = Reader(world, sessions)
    reader.ask(0)
    plan = reader.ask(forget=(0,))
    assert plan.session is None
    assert len(sessions) == 0


def test_unknown_sessions_and_wrong_epochs_are_refused(world: World) -> None:
    reader = Reader(world, FetchSessions())
    reader.ask(0)
    reader.epoch += 1
    assert reader.ask().error is ErrorCode.INVALID_FETCH_SESSION_EPOCH
    reader.id += 1
    assert reader.ask().error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_keeps_to_names_or_to_ids(world: World) -> None:
    reader = Reader(world, FetchSessions())
    reader.ask(0, version=NAMES_VERSION)
    assert reader.ask(version=IDS_VERSION).error is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_a_new_full_request_ends_the_old_session(world: World) -> None:
    sessions = FetchSessions()
    reader = Reader(world, sessions)
    first = reader.ask(0).session
    reader.epoch = 0
    second = reader.ask(0).session
    assert first is not None
    assert second is not None
    assert second is not first
    assert len(sessions) == 1


def test_epoch_minus_one_ends_the_session_and_wants_none(world: World) -> None:
    sessions = FetchSessions()
    reader = Reader(world, sessions)
    reader.ask(0)
    reader.epoch = -1
    assert reader.ask(0, 1).session is None
    assert len(sessions) == 0


def test_requests_before_version_7_know_no_sessions(world: World) -> None:
    assert Reader(world, FetchSessions()).ask(0, version=6).session is None


def test_epochs_wrap_to_one(world: World) -> None:
    reader = Reader(world, FetchSessions())
    session = reader.ask(0).session
    assert session is not None
    session.epoch = reader.epoch = 0x7FFFFFFF
    reader.ask()
    assert session.epoch == 1


def test_partitions_that_move_make_their_entries_ready(world: World) -> None:
    reader = Reader(world, FetchSessions())
    plan = reader.ask(0, 1)
    session = plan.session
    assert session is not None
    for entry in plan.entries:
        entry.locate(world[1].replicas, by_id=True)
    session.ready.clear()
    world[1].produce("a", index=1)
    assert [entry.index for entry in session.ready] == [1]
    assert session.signal in world[1].woken
    reader.ask(forget=(1,))
    session.ready.clear()
    world[1].produce("a", index=1)
    assert not session.ready


def test_a_dropped_session_watches_nothing(world: World) -> None:
    sessions = FetchSessions()
    plan = Reader(world, sessions).ask(0)
    assert plan.session is not None
    for entry in plan.entries:
        entry.locate(world[1].replicas, by_id=True)
    assert len(world[1].partition().watchers) == 1
    sessions.drop(plan.session.id, world[1].replicas)
    assert world[1].partition().watchers == []


# --- limits -------------------------------------------------------------------------------------------------------


def test_a_full_cache_gives_no_session(world: World) -> None:
    sessions = FetchSessions(slots=2)
    readers = [Reader(world, sessions) for _ in range(3)]
    assert [reader.ask(0).session is not None for reader in readers] == [True, True, False]


def test_a_session_that_was_idle_for_two_minutes_makes_room(world: World) -> None:
    sessions = FetchSessions(slots=2)
    first, second, third = (Reader(world, sessions) for _ in range(3))
    first.ask(0)
    second.ask(0)
    world.clock.advance(121)
    first.ask()
    assert third.ask(0).session is not None
    assert second.ask().error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert first.ask().error is ErrorCode.NONE


def test_followers_push_consumers_out_but_not_each_other(world: World) -> None:
    sessions = FetchSessions(slots=2)
    consumer = Reader(world, sessions)
    consumer.ask(0)
    followers = [Reader(world, sessions, is_follower=True) for _ in range(3)]
    assert [follower.ask(0).session is not None for follower in followers] == [True, True, False]
    assert consumer.ask().error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
