"""Replies are written together where requests come together, and at once otherwise."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Any

from blumfeld.broker.outbox import TOGETHER_BYTES, Outbox
from tests.broker.scene import Scene, correlation_ids, list_groups, produce


class Transport(asyncio.WriteTransport):
    """Notes what is written, a list for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[bytes]] = []
        self.closing = False

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(list(list_of_data))

    def is_closing(self) -> bool:
        return self.closing


async def test_what_is_flushed_soon_is_written_in_the_next_turn_of_the_loop_together() -> None:
    transport = Transport()
    outbox = Outbox(transport)
    outbox.put([b"a", b"b"])
    outbox.flush_soon()
    outbox.put([b"c"])
    outbox.flush_soon()
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [[b"a", b"b", b"c"]]
    await asyncio.sleep(0)
    assert len(transport.written) == 1


async def test_a_flush_goes_before_the_one_that_was_to_come() -> None:
    transport = Transport()
    outbox = Outbox(transport)
    outbox.put([b"a"])
    outbox.flush_soon()
    outbox.put([b"b"])
    outbox.flush()
    outbox.put([b"c"])
    outbox.flush_soon()
    await asyncio.sleep(0)
    assert transport.written == [[b"a", b"b"], [b"c"]]


async def test_no_more_is_kept_than_the_bound() -> None:
    transport = Transport()
    outbox = Outbox(transport)
    outbox.put([bytes(TOGETHER_BYTES - 1)])
    assert transport.written == []
    outbox.put([b"x"])
    assert [len(parts) for parts in transport.written] == [2]


async def test_nothing_is_written_to_a_transport_that_closes() -> None:
    transport = Transport()
    outbox = Outbox(transport)
    outbox.put([b"a"])
    outbox.flush_soon()
    transport.closing = True
    await asyncio.sleep(0)
    assert transport.written == []


async def test_replies_to_many_large_requests_come_in_order_however_they_are_cut() -> None:
    scene = await Scene().open()
    reader, writer = await scene.connect()
    writer.write(b"".join(produce(n, padding=65_000 + n) for n in range(40)))
    await scene.until(lambda: len(scene.waiting) == 40)
    for position in reversed(range(40)):
        scene.answer(position)
    assert await correlation_ids(reader, 40) == list(range(40))
    await scene.close()


async def test_a_reply_is_not_held_back_by_a_request_that_is_only_beginning() -> None:
    scene = await Scene().open()
    reader, writer = await scene.connect()
    receive = len(scene.listener.receive_view)
    whole = list_groups(1)
    beginning = produce(2, padding=2 * receive)[: receive - len(whole)]
    writer.write(whole + beginning)  # fills the receive buffer to the last byte
    assert await correlation_ids(reader, 1) == [1]
    await scene.close()


async def test_replies_that_are_due_are_written_before_a_connection_closes() -> None:
    scene = await Scene().open()
    reader, writer = await scene.connect()
    unknown = struct.pack(">hhi", 999, 0, 5000) + b"\xff\xff"
    writer.write(b"".join(list_groups(n) for n in range(5000)) + struct.pack(">i", len(unknown)) + unknown)
    assert await correlation_ids(reader, 5000) == list(range(5000))
    assert await reader.read(1) == b""
    await scene.close()
