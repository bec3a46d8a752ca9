"""DescribeLogDirs: sizes by directory."""

from __future__ import annotations

from typing import Any, cast

import pytest

from blumfeld.broker.api.describe_log_dirs import describe_log_dirs
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from tests.cluster.world import World, context


@pytest.fixture
def world() -> World:
    return World(2)


class Directory:
    """A log directory as the handler sees it."""

    path = "/data"
    offline = False

    def __init__(self, disk: Any) -> None:
        self.disk = disk


def test_sizes_by_directory(world: World) -> None:
    world.create_topic([1], partitions=2)
    world[1].produce("a" * 100, index=1)
    logs = cast(Any, world[1].logs)
    directory = Directory(world[1].disk)
    failed = Directory(world[1].disk)
    failed.path, failed.offline = "/broken", True
    logs.directories = [directory, failed]
    for log in world[1].logs.logs():
        log.home = cast(Any, directory)
    broker = world[1].broker
    response = describe_log_dirs(broker, context(ApiKey.DESCRIBE_LOG_DIRS, 4), DescribeLogDirsRequest(topics=None))
    first, second = response.results
    assert (first.log_dir, second.log_dir) == ("/data", "/broken")
    assert second.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    sizes = {data.partition_index: data.partition_size for data in first.topics[0].partitions}
    assert sizes[0] == 0
    assert sizes[1] == world[1].partition(1).log.size > 100
    assert first.total_bytes >= first.usable_bytes > 0
    asked = DescribeLogDirsRequest(topics=[DescribeLogDirsRequest.Topic(topic="t", partitions=[1])])
    response = describe_log_dirs(broker, context(ApiKey.DESCRIBE_LOG_DIRS, 4), asked)
    assert [data.partition_index for data in response.results[0].topics[0].partitions] == [1]
