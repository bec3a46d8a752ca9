"""Connections over real loopback sockets: frames, order, limits, hostile bytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.api_versions import ApiVersionsResponse
from blumfeld.protocol.messages.list_groups import ListGroupsResponse
from tests.broker.scene import Scene, correlation_ids, heartbeat, is_closed, list_groups, produce


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    await scene.open()
    yield scene
    await scene.close()


async def test_a_frame_may_come_byte_by_byte(scene: Scene) -> None:
    reader, writer = await scene.connect()
    for byte in list_groups(7):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert await correlation_ids(reader, 1) == [7]


async def test_many_frames_may_come_at_once(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(b"".join(list_groups(n) for n in range(500)))
    assert await correlation_ids(reader, 500) == list(range(500))


async def test_a_large_frame_between_small_ones(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(list_groups(1) + produce(2, padding=3_000_000) + list_groups(3))
    await scene.until(lambda: 2 in scene.started)
    scene.answer(0)
    assert await correlation_ids(reader, 3) == [1, 2, 3]


async def test_produce_requests_wait_together_and_are_answered_in_order(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(produce(1) + produce(2) + produce(3))
    await scene.until(lambda: scene.started == [1, 2, 3])
    scene.answer(2)
    scene.answer(1)
    scene.answer(0)
    assert await correlation_ids(reader, 3) == [1, 2, 3]


async def test_other_requests_wait_for_those_before_them(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(produce(1) + list_groups(2) + heartbeat(3) + list_groups(4))
    await scene.until(lambda: scene.started == [1])
    await asyncio.sleep(0.02)
    assert scene.started == [1]
    scene.answer(0)
    await scene.until(lambda: scene.started == [1, 2, 3])
    await asyncio.sleep(0.02)
    assert scene.started == [1, 2, 3]
    scene.answer(1)
    assert await correlation_ids(reader, 4) == [1, 2, 3, 4]


async def test_a_connection_that_breaks_gives_its_waiting_requests_up(scene: Scene) -> None:
    _, writer = await scene.connect()
    writer.write(heartbeat(1))
    await scene.until(lambda: len(scene.waiting) == 1)
    writer.close()
    await scene.until(lambda: scene.waiting[0].cancelled())


@pytest.mark.parametrize("size", [-1, 0, 7, 104_857_601, 2**31 - 1])
async def test_an_absurd_length_closes_the_connection_before_the_body(scene: Scene, size: int) -> None:
    reader, writer = await scene.connect()
    writer.write(struct.pack(">i", size) + b"\x00" * 20)
    assert await is_closed(reader)


async def test_memory_follows_what_arrived_not_what_was_claimed(scene: Scene) -> None:
    _, writer = await scene.connect()
    writer.write(struct.pack(">i", 100_000_000) + b"\x00" * 100)
    await scene.until(lambda: scene.listener.connections == 1)
    await asyncio.sleep(0.05)
    connection = next(iter(scene.listener._connections))
    await scene.until(lambda: connection._frame is not None)
    assert connection._frame is not None
    assert len(connection._frame) <= 1 << 20


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">hhi", 999, 0, 1) + b"\xff\xff",
        struct.pack(">hhi", ApiKey.LIST_GROUPS, 99, 1) + b"\xff\xff",
        struct.pack(">hhi", ApiKey.LIST_GROUPS, 4, 1) + b"\x00\x03tes",
        struct.pack(">hhi", ApiKey.LIST_GROUPS, 4, 1) + b"\xff\xff\x00\xff\xff\xff\xff\x0f",
    ],
    ids=["unknown key", "unknown version", "cut header", "absurd count"],
)
async def test_what_cannot_be_understood_closes_the_connection(scene: Scene, frame: bytes) -> None:
    reader, writer = await scene.connect()
    writer.write(struct.pack(">i", len(frame)) + frame)
    assert await is_closed(reader)
    reader, writer = await scene.connect()
    writer.write(list_groups(1))
    assert await correlation_ids(reader, 1) == [1]


async def test_an_unknown_version_of_api_versions_is_answered_in_version_0(scene: Scene) -> None:
    reader, writer = await scene.connect()
    body = struct.pack(">hhi", ApiKey.API_VERSIONS, 77, 5) + b"whatever it holds"
    writer.write(struct.pack(">i", len(body)) + body)
    size = struct.unpack(">i", await reader.readexactly(4))[0]
    answer = await reader.readexactly(size)
    assert answer[:4] == struct.pack(">i", 5)
    response = ApiVersionsResponse.decode(answer[4:], 0)
    assert response.error_code == 35
    assert [(k.api_key, k.min_version, k.max_version) for k in response.api_keys] == [(18, 0, 4)]


async def test_nothing_more_is_read_while_replies_are_not_taken(scene: Scene) -> None:
    scene.groups = [ListGroupsResponse.Group(group_id="g" * 1000, protocol_type="consumer")] * 100
    _, writer = await scene.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads and writes
    writer.write(b"".join(list_groups(n) for n in range(5000)))  # half a gigabyte of replies
    await scene.until(lambda: scene.listener.connections == 1)
    connection = next(iter(scene.listener._connections))
    before = 0
    while connection._reading or len(scene.started) > before:  # until it stands still, or has read all
        before = len(scene.started)
        await asyncio.sleep(0.1)
    assert 0 < len(scene.started) < 500


async def test_stopping_waits_for_what_is_owed(scene: Scene) -> None:
    reader, writer = await scene.connect()
    writer.write(heartbeat(9))
    await scene.until(lambda: len(scene.waiting) == 1)
    stopping = asyncio.create_task(scene.listener.stop(2))
    await asyncio.sleep(0.02)
    scene.answer(0)
    await stopping
    assert await correlation_ids(reader, 1) == [9]
    assert await is_closed(reader)


async def test_a_listener_that_holds_takes_requests_and_answers_them_later(scene: Scene) -> None:
    scene.listener.hold()
    reader, writer = await scene.connect()
    writer.write(list_groups(1) + list_groups(2))
    await asyncio.sleep(0.05)
    assert scene.started == []
    scene.listener.serve()
    assert await correlation_ids(reader, 2) == [1, 2]


async def test_connections_that_break_leave_no_task_and_no_future_behind(scene: Scene) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(50):
        _, writer = await scene.connect()
        writer.write(heartbeat(1) + produce(2) + list_groups(3) + b"\0\0\0")
    await scene.until(lambda: len(scene.waiting) == 50)
    for writer in scene.writers:
        writer.transport.abort()
    await scene.until(lambda: scene.listener.connections == 0)
    assert all(future.cancelled() for future in scene.waiting)
    assert len(asyncio.all_tasks()) == before
