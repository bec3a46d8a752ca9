"""From process start to the first acknowledged record, by the project's own link, so that no client's back-off is measured."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import ClientError
from blumfeld.client.producing import Message, Producer
from blumfeld.cluster.link import LinkError
from blumfeld.env.environment import Env

GIVE_UP_S = 120.0
TRY_AGAIN_S = 0.002


def seconds_to_first_ack(peer: Any, acks: int = 1) -> float:
    """Start all nodes of `peer`; seconds until a record on a topic made for it is acknowledged."""
    started = time.perf_counter()
    peer.start()
    asyncio.run(_produce_once(peer.bootstrap_servers, acks))
    return time.perf_counter() - started


async def _produce_once(servers: str, acks: int) -> None:
    env = Env.real()
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        client = ClusterClient(env, servers, client_id="bench", timeout_s=1.0)
        try:
            await Producer(client).send("first", [Message(b"first")], now_ms=env.clock.time_ms(), acks=acks)
        except (ClientError, LinkError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(TRY_AGAIN_S)
        else:
            return
        finally:
            await client.close()
