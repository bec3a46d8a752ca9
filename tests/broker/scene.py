"""A listener whose handlers answer when the test says so, and sockets to it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from blumfeld.broker.admission import Admission
from blumfeld.broker.api.api_versions import announce
from blumfeld.broker.context import Context
from blumfeld.broker.dispatch import Api, Dispatcher
from blumfeld.broker.listener import Listener
from blumfeld.config.sources import Config, load
from blumfeld.env.environment import Env
from blumfeld.protocol.frame import encode_request
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from blumfeld.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from blumfeld.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse
from blumfeld.protocol.schema import Request

PATIENCE_S = 60
"""How long anything may take, on a machine that is busy with something else."""


def configured(**settings: str) -> Config:
    """The test profile with properties, whose dots are written as underscores."""
    return load(profile="test", settings=[f"{name.replace('_', '.')}={value}" for name, value in settings.items()])


class Scene:
    """Produce and Heartbeat wait for `answer`; ListGroups and ApiVersions are answered at once."""

    def __init__(self) -> None:
        self.groups: list[ListGroupsResponse.Group] = []
        self.started: list[Any] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.listener: Listener
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, *, admission: Admission | None = None, name: str = "PLAINTEXT", **settings: str) -> Scene:
        self.rows = (
            Api(ApiKey.PRODUCE, 3, 13, lambda: self._later(ProduceResponse(responses=[]))),
            Api(ApiKey.LIST_GROUPS, 0, 5, lambda: self._at_once),
            Api(ApiKey.HEARTBEAT, 0, 4, lambda: self._later(HeartbeatResponse(error_code=0))),
            Api(ApiKey.API_VERSIONS, 0, 4, lambda: self._api_versions),
        )
        dispatcher = Dispatcher(self, {int(row.key): row for row in self.rows})
        self.listener = Listener(name, Env.real(), configured(**settings), dispatcher, admission=admission)
        await self.listener.start("127.0.0.1", 0)
        return self

    def _later(self, response: Any) -> Callable[[Any, Context, Any], Awaitable[Any]]:
        def handler(_: Any, context: Context, request: Any) -> Awaitable[Any]:
            self.started.append(context.header.correlation_id)
            future = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            future.response = response  # type: ignore[attr-defined]
            return future

        return handler

    def _at_once(self, _: Any, context: Context, request: ListGroupsRequest) -> ListGroupsResponse:
        self.started.append(context.header.correlation_id)
        return ListGroupsResponse(error_code=0, groups=self.groups)

    def _api_versions(self, _: Any, context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
        return announce(self.rows, context, request)

    def answer(self, position: int) -> None:
        future = self.waiting[position]
        future.set_result(future.response)  # type: ignore[attr-defined]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        self.writers.append(writer)
        return reader, writer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
        await self.listener.stop(0)
        await self.until(lambda: self.listener.connections == 0)


def framed(request: Request, version: int, correlation_id: int) -> bytes:
    parts = encode_request(type(request).KEY, version, correlation_id, "test", request)
    return b"".join(bytes(part) for part in parts)


def produce(correlation_id: int, padding: int = 0) -> bytes:
    partitions = [ProduceRequest.Topic.Partition(index=0, records=b"r" * padding)] if padding else []
    topics = [ProduceRequest.Topic(name="t", partition_data=partitions)]
    request = ProduceRequest(acks=-1, timeout_ms=1000, topic_data=topics)
    return framed(request, 9, correlation_id)


def list_groups(correlation_id: int) -> bytes:
    return framed(ListGroupsRequest(), 0, correlation_id)


def heartbeat(correlation_id: int) -> bytes:
    return framed(HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), 0, correlation_id)


async def correlation_ids(reader: asyncio.StreamReader, count: int) -> list[int]:
    found = []
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(count):
            size = struct.unpack(">i", await reader.readexactly(4))[0]
            found.append(struct.unpack(">i", (await reader.readexactly(size))[:4])[0])
    return found


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read(1) == b""
        except ConnectionResetError:
            return True
