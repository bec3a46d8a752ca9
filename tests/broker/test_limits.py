"""Every limit of a listener at its edge: what is just allowed, and what is not any more."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator

import pytest

from blumfeld.broker.admission import Admission
from blumfeld.broker.complaints import BURST, INTERVAL_S, Complaints
from blumfeld.broker.connection import MAX_QUEUED_BYTES, SMALLEST_FRAME_BYTES
from blumfeld.broker.listener import RECEIVE_BUFFER_BYTES, Listener
from blumfeld.config.values import ConfigError
from blumfeld.env.clock import ManualClock
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.messages.list_groups import ListGroupsResponse
from tests.broker.scene import Scene, configured, correlation_ids, heartbeat, is_closed, list_groups, produce


@pytest.fixture
async def scenes() -> AsyncIterator[list[Scene]]:
    """Whatever the test opens is closed after it."""
    opened: list[Scene] = []
    yield opened
    for scene in opened:
        await scene.close()


async def opened(scenes: list[Scene], admission: Admission | None = None, name: str = "A", **settings: str) -> Scene:
    scene = await Scene().open(admission=admission, name=name, **settings)
    scenes.append(scene)
    return scene


# --- socket.request.max.bytes ---------------------------------------------------------------------------------


async def test_the_largest_frame_is_taken_and_one_byte_more_closes_the_connection(scenes: list[Scene]) -> None:
    largest = len(produce(1, padding=200_000)) - 4
    scene = await opened(scenes, socket_request_max_bytes=str(largest))
    reader, writer = await scene.connect()
    writer.write(produce(1, padding=200_000))
    await scene.until(lambda: scene.started == [1])
    scene.answer(0)
    assert await correlation_ids(reader, 1) == [1]
    writer.write(struct.pack(">i", largest + 1))  # and not a byte of the body
    assert await is_closed(reader)


async def test_the_smallest_frame_is_understood_and_one_byte_less_closes_the_connection(scenes: list[Scene]) -> None:
    scene = await opened(scenes)
    reader, writer = await scene.connect()
    writer.write(struct.pack(">ihhi", SMALLEST_FRAME_BYTES, 18, 99, 5))  # ApiVersions: any version is answered
    assert await correlation_ids(reader, 1) == [5]
    writer.write(struct.pack(">ihh", SMALLEST_FRAME_BYTES - 1, 18, 99))
    assert await is_closed(reader)


# --- max.connections and its relatives -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"max_connections": "2"}, {"max_connections_per_ip": "2"}, {"listener_name_a_max_connections": "2"}]
)
async def test_one_connection_more_than_allowed_is_closed_at_once(
    scenes: list[Scene], settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(**settings)
    scene = await opened(scenes, Admission(config))
    kept = [await scene.connect() for _ in range(2)]
    await scene.until(lambda: scene.listener.connections == 2)
    reader, _ = await scene.connect()
    assert await is_closed(reader)
    assert next(iter(settings)).replace("_", ".") in caplog.text
    for number, (reader, writer) in enumerate(kept):
        writer.write(list_groups(number))
        assert await correlation_ids(reader, 1) == [number]
    kept[0][1].close()
    await scene.until(lambda: scene.listener.connections == 1)
    reader, writer = await scene.connect()
    writer.write(list_groups(7))
    assert await correlation_ids(reader, 1) == [7]


async def test_listeners_count_together(scenes: list[Scene]) -> None:
    admission = Admission(configured(max_connections="2"))
    first, second = await opened(scenes, admission, "A"), await opened(scenes, admission, "B")
    await first.connect()
    await second.connect()
    await first.until(lambda: len(admission) == 2)
    for scene in (first, second):
        reader, _ = await scene.connect()
        assert await is_closed(reader)


async def test_other_brokers_get_in_and_the_quietest_client_goes(scenes: list[Scene]) -> None:
    admission = Admission(configured(max_connections="2"), protected="BROKERS")
    clients, brokers = await opened(scenes, admission, "CLIENTS"), await opened(scenes, admission, "BROKERS")
    quiet, _ = await clients.connect()
    await clients.until(lambda: len(admission) == 1)
    busy, writer = await clients.connect()
    await clients.until(lambda: len(admission) == 2)
    writer.write(list_groups(1))
    assert await correlation_ids(busy, 1) == [1]
    broker, broker_writer = await brokers.connect()
    assert await is_closed(quiet)
    broker_writer.write(list_groups(2))
    assert await correlation_ids(broker, 1) == [2]
    assert len(admission) == 2


@pytest.mark.parametrize("override", ["127.0.0.1:3", "localhost:3", "::1:1, 127.0.0.1:3"])
async def test_an_override_counts_instead_of_the_limit_per_address(scenes: list[Scene], override: str) -> None:
    config = configured(max_connections_per_ip="1", max_connections_per_ip_overrides=override)
    admission = Admission(config)
    await admission.look_up(config, RealNetwork())
    scene = await opened(scenes, admission)
    for _ in range(3):
        await scene.connect()
    await scene.until(lambda: len(admission) == 3)
    reader, _ = await scene.connect()
    assert await is_closed(reader)


@pytest.mark.parametrize("override", ["127.0.0.1", "127.0.0.1:many", ":3", "127.0.0.1:-1", "127.0.0.1:" + "9" * 5_000])
def test_an_override_that_makes_no_sense_is_an_error_that_shows_it(override: str) -> None:
    with pytest.raises(ConfigError, match=r"max\.connections\.per\.ip\.overrides.*address:count"):
        Admission(configured(max_connections_per_ip_overrides=override))


async def test_a_name_that_nobody_knows_is_an_error() -> None:
    config = configured(max_connections_per_ip_overrides="no-such-host.invalid:3")
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        await Admission(config).look_up(config, RealNetwork())


async def test_limits_change_while_connections_are_there(scenes: list[Scene]) -> None:
    admission = Admission(configured(max_connections="1"))
    scene = await opened(scenes, admission)
    await scene.connect()
    await scene.until(lambda: len(admission) == 1)
    admission.reconfigure(configured(max_connections="2"))
    await scene.connect()
    await scene.until(lambda: len(admission) == 2)
    admission.reconfigure(configured(max_connections="5", max_connections_per_ip_overrides="nonsense"))
    reader, _ = await scene.connect()
    assert await is_closed(reader), "what makes no sense changes nothing"


# --- connections.max.idle.ms -----------------------------------------------------------------------------------


async def test_idle_connections_are_closed_and_busy_or_waiting_ones_are_not(scenes: list[Scene]) -> None:
    scene = await opened(scenes, connections_max_idle_ms="1000")  # more than the loop ever stands still
    idle, _ = await scene.connect()
    busy, busy_writer = await scene.connect()
    waiting, writer = await scene.connect()
    writer.write(heartbeat(1))
    closing = asyncio.create_task(is_closed(idle))
    number = 0
    while not closing.done():
        busy_writer.write(list_groups(number := number + 1))
        assert await correlation_ids(busy, 1) == [number]
        await asyncio.sleep(0.02)
    assert await closing
    assert number > 3
    scene.answer(0)
    assert await correlation_ids(waiting, 1) == [1]


async def test_a_frame_that_never_ends_is_idle_too(scenes: list[Scene]) -> None:
    scene = await opened(scenes, connections_max_idle_ms="60")
    reader, writer = await scene.connect()
    writer.write(struct.pack(">i", 1_000_000) + b"\x00" * 100)
    assert await is_closed(reader)
    await scene.until(lambda: scene.listener.connections == 0)


async def test_a_peer_that_takes_no_replies_is_idle_too(scenes: list[Scene]) -> None:
    scene = await opened(scenes, connections_max_idle_ms="1000")  # more than the loop ever stands still
    scene.groups = [ListGroupsResponse.Group(group_id="g" * 1000, protocol_type="consumer")] * 100
    _, writer = await scene.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads and writes
    writer.write(b"".join(list_groups(n) for n in range(5000)))
    await scene.until(lambda: scene.listener.connections == 1)
    await scene.until(lambda: scene.listener.connections == 0)


async def test_a_peer_that_takes_no_replies_is_idle_although_we_are_closing(scenes: list[Scene]) -> None:
    scene = await opened(scenes, connections_max_idle_ms="500")
    scene.groups = [ListGroupsResponse.Group(group_id="g" * 1000, protocol_type="consumer")] * 500
    _, writer = await scene.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads and writes
    await scene.until(lambda: scene.listener.connections == 1)
    connection = next(iter(scene.listener._connections))
    transport = connection._transport
    assert transport is not None
    transport.set_write_buffer_limits(high=1 << 30)
    for number in range(40):
        writer.write(list_groups(number))
    await scene.until(lambda: transport.get_write_buffer_size() > 0)
    writer.write(heartbeat(100))
    await scene.until(lambda: len(scene.waiting) == 1)
    writer.write(struct.pack(">i", -1))
    await scene.until(lambda: connection.closing)
    await scene.until(lambda: scene.listener.connections == 0)
    assert scene.waiting[0].cancelled()


# --- queued.max.request.bytes ----------------------------------------------------------------------------------


async def test_beyond_the_budget_a_frame_waits_until_another_was_handled(scenes: list[Scene]) -> None:
    frame = produce(1, padding=300_000)
    scene = await opened(scenes, queued_max_request_bytes=str(len(frame) - 4))
    budget = scene.listener.budget
    assert budget is not None
    slow, slow_writer = await scene.connect()
    slow_writer.write(frame[:200_000])
    await scene.until(lambda: budget.used_bytes == budget.max_bytes)
    late, late_writer = await scene.connect()
    late_writer.write(produce(2, padding=300_000))
    small, small_writer = await scene.connect()
    await scene.until(lambda: len(budget) == 1)
    small_writer.write(list_groups(3))  # takes no memory of its own
    assert await correlation_ids(small, 1) == [3]
    assert scene.started == [3]
    slow_writer.write(frame[200_000:])
    await scene.until(lambda: scene.started == [3, 1, 2])
    scene.answer(0)
    scene.answer(1)
    assert await correlation_ids(slow, 1) == [1]
    assert await correlation_ids(late, 1) == [2]
    assert budget.used_bytes == 0


async def test_a_byte_below_the_budget_lets_another_frame_in(scenes: list[Scene]) -> None:
    frame = produce(1, padding=300_000)
    scene = await opened(scenes, queued_max_request_bytes=str(len(frame) - 4 + 1))
    budget = scene.listener.budget
    assert budget is not None
    for _ in range(2):
        _, writer = await scene.connect()
        writer.write(frame[:200_000])
    await scene.until(lambda: budget.used_bytes == 2 * (len(frame) - 4))
    assert len(budget) == 0


async def test_connections_that_break_give_their_room_back(scenes: list[Scene]) -> None:
    frame = produce(1, padding=300_000)
    scene = await opened(scenes, queued_max_request_bytes="1")
    budget = scene.listener.budget
    assert budget is not None
    _, first = await scene.connect()
    first.write(frame[:200_000])
    await scene.until(lambda: budget.used_bytes == len(frame) - 4)
    _, second = await scene.connect()
    second.write(frame[:200_000])
    reader, third = await scene.connect()
    await scene.until(lambda: len(budget) == 1)
    third.write(frame)
    await scene.until(lambda: len(budget) == 2)
    first.transport.abort()
    await scene.until(lambda: len(budget) == 1)
    second.transport.abort()
    await scene.until(lambda: scene.started == [1])
    scene.answer(0)
    assert await correlation_ids(reader, 1) == [1]
    assert budget.used_bytes == 0


async def test_requests_that_wait_for_their_turn_count(scenes: list[Scene]) -> None:
    scene = await opened(scenes, queued_max_request_bytes="1000000")
    budget = scene.listener.budget
    assert budget is not None
    reader, writer = await scene.connect()
    writer.write(heartbeat(1) + list_groups(2) + list_groups(3))
    await scene.until(lambda: scene.started == [1])
    assert budget.used_bytes == 2 * (len(list_groups(2)) - 4)
    scene.answer(0)
    assert await correlation_ids(reader, 3) == [1, 2, 3]
    assert budget.used_bytes == 0


# --- complaints ------------------------------------------------------------------------------------------------


def test_so_many_complaints_of_a_kind_are_written_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    complaints = Complaints(clock)
    with caplog.at_level(logging.WARNING):
        for number in range(BURST + 5):
            complaints.add("kind", "number %d", number)
        assert len(caplog.records) == BURST
        complaints.add("another kind", "hello")
        assert len(caplog.records) == BURST + 1
        clock.advance(INTERVAL_S)
        complaints.add("kind", "again")
    assert [record.getMessage() for record in caplog.records[-2:]] == [
        "kind: 5 more like this in the last 10 s",
        "again",
    ]


# --- requests that wait for their turn -------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "most"), [(0, MAX_QUEUED_BYTES + RECEIVE_BUFFER_BYTES), (1_000_000, 1_100_000)])
async def test_only_so_much_is_read_while_a_request_waits(scenes: list[Scene], size: int, most: int) -> None:
    scene = await opened(scenes)
    reader, writer = await scene.connect()
    writer.write(heartbeat(1))
    await scene.until(lambda: scene.started == [1])
    behind = [list_groups(n) if not size else produce(n, padding=size) for n in range(2, 20)] * (1 if size else 1000)
    writer.write(b"".join(behind))
    connection = next(iter(scene.listener._connections))
    await scene.until(lambda: not connection._reading)
    assert sum(map(len, connection._arrived)) <= most
    scene.answer(0)
    assert (await correlation_ids(reader, 1)) == [1]
    if not size:
        assert await correlation_ids(reader, len(behind)) == [*range(2, 20)] * 1000


async def test_who_has_gone_while_its_request_waits_is_noticed(scenes: list[Scene]) -> None:
    scene = await opened(scenes)
    for _ in range(5):
        _, writer = await scene.connect()
        writer.write(heartbeat(1) + list_groups(2) + b"\0\0")
    await scene.until(lambda: len(scene.waiting) == 5)
    for writer in scene.writers:
        writer.close()
    await scene.until(lambda: scene.listener.connections == 0)
    assert all(future.cancelled() for future in scene.waiting)


async def test_who_can_not_be_noticed_to_have_gone_is_idle(scenes: list[Scene]) -> None:
    scene = await opened(scenes, connections_max_idle_ms="500")
    _, writer = await scene.connect()
    writer.write(heartbeat(1) + b"".join(list_groups(n) for n in range(5000)))
    await scene.until(lambda: scene.started == [1])
    await scene.until(lambda: scene.listener.connections == 0)


async def test_so_many_produce_requests_wait_for_replication_at_once_and_no_more(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listener, "max_pipelined", 3)
    scene = await opened(scenes)
    reader, writer = await scene.connect()
    writer.write(b"".join(produce(number) for number in range(1, 6)))
    await scene.until(lambda: scene.started == [1, 2, 3])
    await asyncio.sleep(0.02)
    assert scene.started == [1, 2, 3]
    scene.answer(0)
    await scene.until(lambda: scene.started == [1, 2, 3, 4])
    for position in (1, 2, 3):
        scene.answer(position)
    await scene.until(lambda: len(scene.waiting) == 5)
    scene.answer(4)
    assert await correlation_ids(reader, 5) == [1, 2, 3, 4, 5]


# --- defects of ours -------------------------------------------------------------------------------------------


async def test_a_handler_that_fails_ends_its_connection_and_does_not_fill_the_log(
    scenes: list[Scene], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a defect")

    scene = await opened(scenes)
    monkeypatch.setattr(scene, "_at_once", fail)
    other, other_writer = await scene.connect()
    for number in range(2 * BURST):
        reader, writer = await scene.connect()
        writer.write(list_groups(number))
        assert await is_closed(reader)
    assert len([record for record in caplog.records if record.exc_info]) == BURST
    other_writer.write(heartbeat(1))
    await scene.until(lambda: len(scene.waiting) == 1)
    scene.answer(0)
    assert await correlation_ids(other, 1) == [1]
