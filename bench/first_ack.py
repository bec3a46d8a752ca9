"""From process start to the first acknowledged record, without any client's back-off in it.

Owns the asking: a bare connect every 2 ms until somebody listens (cheap: the broker that starts has the processors),
then metadata every 2 ms until the topic is led, then one record, over the project's own link, for every peer alike.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from bench.peers.peer import Peer
from blumfeld.client.cluster import ClusterClient, parse_servers
from blumfeld.client.errors import ClientError, NoBroker
from blumfeld.cluster.link import LinkError
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.metadata import MetadataResponse
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.records import Record, build_batch

T = TypeVar("T")

GIVE_UP_S = 120.0
TRY_AGAIN_S = 0.002
PRODUCE_TIMEOUT_MS = 10_000


def seconds_to_first_ack(peer: Peer, topic: str = "first", acks: int = 1) -> float:
    """Start all nodes of `peer`; seconds until a record to `topic` (made where it is missing) is acknowledged."""
    started = time.perf_counter()
    peer.start()
    wait_for_listener(peer.bootstrap_servers)
    asyncio.run(_produce_once(peer.bootstrap_servers, topic, acks))
    return time.perf_counter() - started


def wait_for_listener(servers: str) -> None:
    """Return when somebody listens at the first of `servers`."""
    address = parse_servers(servers)[0]
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(TRY_AGAIN_S)
        else:
            return


async def wait_for_metadata(
    client: ClusterClient, topics: list[str], is_enough: Callable[[MetadataResponse], T | None]
) -> T:
    """Ask for metadata of `topics` (making missing ones) every 2 ms until `is_enough` returns something true."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            found = is_enough(await client.metadata(topics, create=True))
        except (LinkError, NoBroker):
            if time.monotonic() > deadline:
                raise
        else:
            if found:
                return found
        assert time.monotonic() < deadline, f"{topics[:3]} have no leaders"
        await asyncio.sleep(TRY_AGAIN_S)


async def _produce_once(servers: str, topic: str, acks: int) -> None:
    client = ClusterClient(Env.real(), servers, client_id="bench", timeout_s=1.0)
    deadline = time.monotonic() + GIVE_UP_S
    try:
        while not await _try_to_produce(client, topic, acks):
            assert time.monotonic() < deadline, "no record was acknowledged"
            await asyncio.sleep(TRY_AGAIN_S)
    finally:
        await client.close()


async def _try_to_produce(client: ClusterClient, topic: str, acks: int) -> bool:
    leader, topic_id = await wait_for_metadata(client, [topic], _leader)
    partition = ProduceRequest.Topic.Partition(index=0, records=build_batch([Record(0, 0, None, b"first")]))
    data = ProduceRequest.Topic(name=topic, topic_id=topic_id, partition_data=[partition])
    request = ProduceRequest(transactional_id=None, acks=acks, timeout_ms=PRODUCE_TIMEOUT_MS, topic_data=[data])
    try:
        response = await client.broker(leader, request)
    except (LinkError, ClientError):
        return False
    return bool(response.responses[0].partition_responses[0].error_code == ErrorCode.NONE)


def _leader(metadata: MetadataResponse) -> tuple[int, bytes] | None:
    topic = metadata.topics[0]
    if topic.error_code or not topic.partitions or topic.partitions[0].error_code:
        return None
    return topic.partitions[0].leader_id, topic.topic_id
