"""The produce path is short: which rooms one request passes, and that acks 0 and 1 make no task.

docs/architecture.md names the hops: connection → dispatch → api/produce → cluster/partition → storage/log, which writes
through its segment.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import pytest

from blumfeld.config.sources import load
from blumfeld.launch.node import Node
from blumfeld.launch.plan import Plan
from blumfeld.protocol.frame import encode_request
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse
from blumfeld.protocol.records import Record, build_batch
from blumfeld.protocol.schema import Request

HOPS = ("broker.connection", "broker.dispatch", "broker.api.produce", "cluster.partition", "storage.log")
VERSION = 9


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """One node in this process, in memory."""
    plan = Plan.make(profile="test")
    faults: list[str] = []
    node = Node(plan, 1, load(profile="test", planned=plan.properties(1)), faults.append)
    await node.start()
    yield node
    await node.stop()
    assert not faults


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, version: int) -> bytes:
    writer.writelines(encode_request(type(request).KEY, version, 1, "t", request))
    size = struct.unpack(">i", await reader.readexactly(4))[0]
    return await reader.readexactly(size)


def produce(acks: int) -> ProduceRequest:
    batch = build_batch([Record(0, 1_700_000_000_000, None, b"v")])
    topic = ProduceRequest.Topic(name="t", partition_data=[ProduceRequest.Topic.Partition(index=0, records=batch)])
    return ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[topic])


async def connected(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    topic = CreateTopicsRequest.Topic(name="t", num_partitions=1, replication_factor=1, assignments=[], configs=[])
    await call(reader, writer, CreateTopicsRequest(topics=[topic], timeout_ms=5000), 5)
    answer = await call(reader, writer, produce(1), VERSION)  # the first of a kind imports and compiles
    response = ProduceResponse.decode(answer[5:], VERSION)
    assert response.responses[0].partition_responses[0].error_code == 0
    return reader, writer


@pytest.mark.parametrize("acks", [0, 1])
async def test_acks_0_and_1_make_no_task(node: Node, acks: int) -> None:
    reader, writer = await connected(node)
    assert node.broker is not None
    log = next(node.broker.data_plane.replicas.all()).log
    made: list[str] = []

    def counting(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    before = log.log_end_offset
    asyncio.get_running_loop().set_task_factory(counting)
    for _ in range(10):
        if acks:
            await call(reader, writer, produce(acks), VERSION)
        else:
            writer.writelines(encode_request(ApiKey.PRODUCE, VERSION, 1, "t", produce(acks)))
    while log.log_end_offset < before + 10:
        await asyncio.sleep(0.001)
    asyncio.get_running_loop().set_task_factory(None)
    assert made == []
    writer.close()


async def test_one_request_passes_five_rooms_in_order(node: Node) -> None:
    reader, writer = await connected(node)
    first_seen: dict[str, None] = {}

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        if event == "call" and module.startswith("blumfeld."):
            first_seen.setdefault(module.removeprefix("blumfeld."))

    restore: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(watch)
    try:
        await call(reader, writer, produce(1), VERSION)
    finally:
        sys.setprofile(restore)
    passed = [module for module in first_seen if module in HOPS]
    assert passed == list(HOPS)
    writer.close()
