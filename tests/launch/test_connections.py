"""Many connections to one broker process: a thousand at once, and ten thousand that come and go."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from blumfeld.broker.connection import SIZE_BYTES
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.join_group import JoinGroupRequest
from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.testing import Cluster, Kafka
from tests.cluster_e2e.story import wait_until
from tests.raw import Raw, framed

AT_ONCE = 1_000
COMING_AND_GOING = 10_000
TOGETHER = 500
MAX_GROWTH_BYTES = 12 << 20
PATIENCE_S = 100.0


class Serving(NamedTuple):
    """One broker with a topic and a coordinator, to which nobody is connected."""

    cluster: Cluster
    idle_files: int
    """How many files it holds then; 0 where nobody can tell."""


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Cluster() as cluster:
        idle_files = open_files(cluster.broker.pid) if Path("/proc/self/fd").exists() else 0
        with Kafka(cluster.bootstrap_servers) as kafka:
            kafka.topic("steady")
        with Raw(cluster.bootstrap_servers) as raw:
            raw.ask(FindCoordinatorRequest(key="g"), 1)
        yield Serving(cluster, idle_files)


def rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:"))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def connect(cluster: Cluster) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(cluster.broker.host, cluster.broker.port)


async def reply_id(reader: asyncio.StreamReader) -> int:
    size = struct.unpack(">i", await reader.readexactly(SIZE_BYTES))[0]
    correlation_id: int = struct.unpack_from(">i", await reader.readexactly(size))[0]
    return correlation_id


async def test_a_thousand_connections_at_once_are_served(serving: Serving) -> None:
    raise_limit()
    async with asyncio.timeout(PATIENCE_S):
        channels = await asyncio.gather(*(connect(serving.cluster) for _ in range(AT_ONCE)))
        metadata = MetadataRequest(topics=[MetadataRequest.Topic(name="steady")])
        for turn in range(3):
            for number, (_, writer) in enumerate(channels):
                writer.write(framed(metadata, 9, turn * AT_ONCE + number))
            replies = await asyncio.gather(*(reply_id(reader) for reader, _ in channels))
            assert replies == [turn * AT_ONCE + number for number in range(AT_ONCE)]
        for _, writer in channels:
            writer.close()


def poll() -> FetchRequest:
    """A fetch that would wait a minute."""
    partition = FetchRequest.Topic.Partition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topics = [FetchRequest.Topic(topic="steady", partitions=[partition])]
    return FetchRequest(max_wait_ms=60_000, min_bytes=1, topics=topics)


def join(number: int) -> JoinGroupRequest:
    """A member that joins and is never heard of again."""
    return JoinGroupRequest(
        group_id=f"g{number % 10}",
        session_timeout_ms=200,
        rebalance_timeout_ms=60_000,
        member_id="",
        protocol_type="consumer",
        protocols=[JoinGroupRequest.Protocol(name="range", metadata=b"")],
    )


def beginning(number: int) -> bytes:
    """What a connection says before it is gone: nothing, a piece of a frame, or a request in progress."""
    match number % 5:
        case 0:
            return b""
        case 1:
            return framed(ApiVersionsRequest(), 0, number)[:7]
        case 2:
            return struct.pack(">i", 50_000_000) + bytes(1000)
        case 3:
            return framed(poll(), 11, number)
        case _:
            return framed(join(number), 5, number)


def come_and_go(cluster: Cluster, count: int) -> None:
    """So many connections that are answered once, begin something, and are gone."""
    raise_limit()
    address = (cluster.broker.host, cluster.broker.port)
    hello = framed(ApiVersionsRequest(), 0, 1)
    for _ in range(count // TOGETHER):
        channels = [socket.create_connection(address) for _ in range(TOGETHER)]
        for channel in channels:
            channel.sendall(hello)
        for number, channel in enumerate(channels):
            assert channel.recv(1 << 16)
            channel.sendall(beginning(number))
        for channel in channels:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye
            channel.close()


def test_ten_thousand_that_come_and_go_leave_nothing_behind(serving: Serving) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("memory and files of a process are read from /proc")
    cluster, pid = serving.cluster, serving.cluster.broker.pid
    come_and_go(cluster, COMING_AND_GOING)  # what the most at once took stays with the allocator; more must not come
    wait_until(lambda: open_files(pid) <= serving.idle_files, "all are gone", PATIENCE_S)
    memory = rss_bytes(pid)
    come_and_go(cluster, COMING_AND_GOING)
    wait_until(lambda: open_files(pid) <= serving.idle_files, "all are gone again", PATIENCE_S)
    wait_until(lambda: rss_bytes(pid) - memory < MAX_GROWTH_BYTES, "what they took is given back", PATIENCE_S)
    with Raw(cluster.bootstrap_servers) as raw:
        assert raw.ask(ApiVersionsRequest(), 0).error_code == 0
    assert "Traceback" not in Path(cluster.broker.process.log_file).read_text()


def raise_limit() -> None:
    """This process needs its own end of every connection."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * AT_ONCE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * AT_ONCE), hard))
