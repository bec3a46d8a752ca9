"""Where replicas lie: noted, sent in batches, sent again until the controller knows."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.cluster.directory_assignments import DirectoryAssignments
from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.cluster import ClusterImage
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.assign_replicas_to_dirs import AssignReplicasToDirsResponse
from tests.cluster.world import World

A, B = b"a" * 16, b"b" * 16
TOPIC = b"t" * 16


class Controller:
    """A controller that notes what it is told."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.failures: list[Any] = []
        self.known: dict[tuple[bytes, int], bytes] = {}

    async def send(self, request: Any, *, timeout_ms: float) -> AssignReplicasToDirsResponse:
        await asyncio.sleep(0)
        self.requests.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return AssignReplicasToDirsResponse(error_code=failure, directories=[])
        answer = AssignReplicasToDirsResponse.Directory
        directories = []
        for directory in request.directories:
            topics = []
            for topic in directory.topics:
                for partition in topic.partitions:
                    self.known[topic.topic_id, partition.partition_index] = directory.id
                partitions = [
                    answer.Topic.Partition(partition_index=p.partition_index, error_code=0) for p in topic.partitions
                ]
                topics.append(answer.Topic(topic_id=topic.topic_id, partitions=partitions))
            directories.append(answer(id=directory.id, topics=topics))
        return AssignReplicasToDirsResponse(error_code=0, directories=directories)


def assignments() -> tuple[Controller, DirectoryAssignments]:
    controller = Controller()
    return controller, DirectoryAssignments(cast(Any, controller), Membership(1, ClusterImage()))


async def settled(noted: DirectoryAssignments) -> None:
    async with asyncio.timeout(3):
        while noted._sender is not None:
            await asyncio.sleep(0.001)


async def test_what_is_noted_in_one_moment_travels_together() -> None:
    controller, noted = assignments()
    for index in range(3):
        noted.note(TOPIC, index, A if index else B)
    await settled(noted)
    assert controller.known == {(TOPIC, 0): B, (TOPIC, 1): A, (TOPIC, 2): A}
    assert len(controller.requests) == 1


async def test_a_move_while_the_request_travels_is_told_too() -> None:
    controller, noted = assignments()
    noted.note(TOPIC, 0, A)
    await asyncio.sleep(0)
    noted.note(TOPIC, 0, B)
    await settled(noted)
    assert controller.known == {(TOPIC, 0): B}


async def test_it_is_told_again_until_the_controller_has_heard() -> None:
    controller, noted = assignments()
    controller.failures = [ControllerUnavailable("away"), ErrorCode.STALE_BROKER_EPOCH]
    noted.note(TOPIC, 0, A)
    await settled(noted)
    assert controller.known == {(TOPIC, 0): A}
    assert len(controller.requests) == 3


async def test_stopping_ends_it() -> None:
    _, noted = assignments()
    noted.note(TOPIC, 0, A)
    await noted.stop()
    noted.note(TOPIC, 1, A)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_replica_in_another_directory_than_metadata_says_is_noted() -> None:
    world = World(1)
    world[1].logs.directory_of = lambda log: A  # type: ignore[method-assign]
    topic_id = world.create_topic([1])
    assert world[1].directories == {(topic_id, 0): A}
