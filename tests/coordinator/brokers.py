"""Brokers of one world with their group coordinators, and requests that cross the wire in every version.

brokers = Brokers(3, replicas=(1, 2))            # __consumer_offsets on brokers 1 and 2, led by 1
reply = brokers.call(1, HeartbeatRequest(…), 4)  # the handler of broker 1, through encode and decode
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from importlib import import_module
from typing import Any, Self, cast

from blumfeld.broker.context import Context
from blumfeld.broker.dispatch import Peer
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import MetadataImage
from blumfeld.config.sources import Config, Layer
from blumfeld.coordinator.groups import OFFSETS_TOPIC, GroupCoordinator
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from blumfeld.protocol.messages.header import RequestHeader
from blumfeld.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from blumfeld.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from blumfeld.protocol.schema import Request, Response
from tests.cluster.world import Member, World

PARTITIONS = 3
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": str(PARTITIONS),
    "offsets.topic.replication.factor": "1",
}
OTHER_CONNECTION = 2


class Controller:
    """The controller, as far as coordinators ask it: it makes the topic, or refuses."""

    def __init__(self, world: World, replicas: Iterable[int]) -> None:
        self.world = world
        self.replicas = tuple(replicas)
        self.refusal = ErrorCode.NONE
        self.asked: list[CreateTopicsRequest] = []

    async def send(self, request: Request, *, timeout_ms: float) -> CreateTopicsResponse:
        assert isinstance(request, CreateTopicsRequest)
        self.asked.append(CreateTopicsRequest.decode(request.encode(7), 7))
        topic = request.topics[0]
        if self.refusal is ErrorCode.NONE:
            self.world.create_topic(self.replicas, partitions=topic.num_partitions, name=topic.name)
        result = CreateTopicsResponse.Topic(name=topic.name, error_code=self.refusal, error_message=None)
        return CreateTopicsResponse(topics=[result])


class Brokers:
    """A world whose brokers coordinate groups."""

    def __init__(
        self, count: int = 1, *, replicas: Iterable[int] = (1,), with_topic: bool = True, **settings: str
    ) -> None:
        self.world = World(count)
        self.controller = Controller(self.world, replicas)
        self.groups: dict[int, GroupCoordinator] = {}
        given = {**SETTINGS, **{name.replace("_", "."): value for name, value in settings.items()}}
        for node_id, member in self.world.members.items():
            config = Config([Layer("test", given)])
            member.broker.config = config
            groups = GroupCoordinator(
                member.broker.env, config, member.replicas, cast(Any, self.controller), disconnect_grace_ms=500
            )
            member.broker.groups = self.groups[node_id] = groups
            self._tell_of_metadata(member, groups)
        if with_topic:
            self.world.create_topic(replicas, partitions=PARTITIONS, name=OFFSETS_TOPIC)

    def _tell_of_metadata(self, member: Member, groups: GroupCoordinator) -> None:
        apply = member.apply

        def apply_to_both(image: MetadataImage, delta: MetadataDelta) -> None:
            apply(image, delta)
            groups.apply(delta, image)

        member.apply = apply_to_both  # type: ignore[method-assign]  # as the node composes them

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        for groups in self.groups.values():
            await groups.stop()

    def context(self, key: ApiKey, version: int, connection_id: int = 1) -> Context:
        header = RequestHeader(request_api_key=key, request_api_version=version, correlation_id=1, client_id="client")
        return Context(header, Peer(connection_id, "PLAINTEXT", "127.0.0.1", "127.0.0.1", 9092))

    def start(self, node_id: int, request: Request, version: int, *, connection_id: int = 1) -> Any:
        """Call the handler; the response, or a future of it. Both have crossed the wire."""
        key = ApiKey(type(request).KEY)
        name = key.name.lower()
        handler = getattr(import_module(f"blumfeld.broker.api.{name}"), name)
        received = type(request).decode(request.encode(version), version)
        reply = handler(self.world[node_id].broker, self.context(key, version, connection_id), received)
        if isinstance(reply, Response):
            return _sent(reply, version)
        return asyncio.ensure_future(_sent_later(reply, version))

    async def call(self, node_id: int, request: Request, version: int, *, connection_id: int = 1) -> Any:
        """Call the handler and wait for the answer."""
        reply = self.start(node_id, request, version, connection_id=connection_id)
        return await asyncio.wait_for(reply, 60) if isinstance(reply, Awaitable) else reply

    # --- stories -----------------------------------------------------------------------------------------------------

    def leader_of(self, group_id: str) -> int:
        """The broker that coordinates the group."""
        index = self.groups[1].partition_for(group_id)
        partition = self.world.image.topics.partition_by_name(OFFSETS_TOPIC, index)
        assert partition is not None
        return partition.leader

    def replicate(self, rounds: int = 3) -> None:
        self.world.replicate(rounds=rounds)

    def fail_over(self, leader: int, isr: Iterable[int]) -> None:
        """Another broker leads all partitions of `__consumer_offsets`."""
        for index in range(PARTITIONS):
            self.world.change(index, OFFSETS_TOPIC, leader=leader, isr=list(isr))

    async def loaded(self, node_id: int) -> None:
        """Wait until the broker has loaded what it leads."""
        async with asyncio.timeout(60):
            while self.groups[node_id].runtime.is_loading:
                await asyncio.sleep(0)

    async def joined(
        self, group_id: str = "g", *, node_id: int = 1, instance_id: str | None = None, connection_id: int = 1
    ) -> JoinGroupResponse:
        """A lone consumer in a group, with its assignment."""
        join = JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=60_000,
            member_id="",
            group_instance_id=instance_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.Protocol(name="range", metadata=b"\0\0\0\0\0\0\xff\xff\xff\xff")],
        )
        response: JoinGroupResponse = await self.call(node_id, join, 9, connection_id=connection_id)
        if response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            join.member_id = response.member_id
            response = await self.call(node_id, join, 9, connection_id=connection_id)
        assert response.error_code == ErrorCode.NONE
        sync = SyncGroupRequest(
            group_id=group_id,
            generation_id=response.generation_id,
            member_id=response.member_id,
            group_instance_id=instance_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[SyncGroupRequest.Assignment(member_id=response.member_id, assignment=b"all")],
        )
        synced: SyncGroupResponse = await self.call(node_id, sync, 5)
        assert (synced.error_code, synced.assignment) == (ErrorCode.NONE, b"all")
        return response


def _sent(response: Response, version: int) -> Response:
    return type(response).decode(response.encode(version), version)


async def _sent_later(reply: Awaitable[Response], version: int) -> Response:
    return _sent(await reply, version)
