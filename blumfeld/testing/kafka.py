"""What a test does with a cluster: topics, records, groups, and waiting for what must become true.

Owns one thread with an event loop for its own requests, so that it may be used from any thread and from coroutines of
any loop. Works against every cluster that speaks the protocol, not only ours.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from blumfeld.client.cluster import ClusterClient
from blumfeld.client.consuming import EARLIEST, LATEST, Consumed, Consumer
from blumfeld.client.errors import RequestFailed
from blumfeld.client.groups import Groups
from blumfeld.client.producing import Message, Producer
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 15.0
POLL_S = 0.02
_NAMES = itertools.count(1)


def unique_name(prefix: str = "t") -> str:
    """A name that no other test of this run has, also across processes."""
    return f"{prefix}-{os.getpid()}-{next(_NAMES)}"


class Kafka:
    """A cluster as a test uses it.

    Args:
        bootstrap_servers: comma-separated host:port.
        timeout_s: how long calls retry, and waiting waits, unless told otherwise.
    """

    def __init__(self, bootstrap_servers: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._timeout_s = timeout_s
        self._env = Env.real()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blumfeld-testing", daemon=True)
        self._thread.start()
        self._cluster = ClusterClient(self._env, bootstrap_servers, client_id="blumfeld-testing", timeout_s=timeout_s)
        self._producer = Producer(self._cluster)

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._cluster.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    def __enter__(self) -> Kafka:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- topics ------------------------------------------------------------------------------------------------

    def topic(
        self,
        name: str | None = None,
        *,
        partitions: int = 1,
        replication_factor: int = -1,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Create a topic (a unique name where none is given) and return its name once its leaders serve."""
        name = name or unique_name("topic")
        self._run(self._cluster.create_topic(name, partitions, replication_factor, dict(config or {})))
        return name

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        self._run(self._cluster.delete_topic(name))

    def topics(self) -> list[str]:
        """Names of all topics, internal ones left out."""
        found = self._run(self._cluster.metadata())
        return sorted(t.name for t in found.topics if not t.is_internal and t.name is not None)

    def leaders(self, topic: str) -> dict[int, int]:
        """Leader's node id of each partition, −1 where there is none."""
        found = self._run(self._cluster.topic(topic, leading=()))
        return {p.partition_index: p.leader_id for p in found.partitions}

    def isr(self, topic: str, partition: int = 0) -> list[int]:
        """Node ids of a partition's in-sync replicas."""
        found = self._run(self._cluster.topic(topic, leading=()))
        return sorted(next(p.isr_nodes for p in found.partitions if p.partition_index == partition))

    # --- records -----------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        *values: bytes | None,
        key: bytes | None = None,
        headers: Mapping[str, bytes | None] | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
        acks: int = -1,
    ) -> list[tuple[int, int]]:
        """Produce values, all with the same key and headers; returns (partition, offset) of each."""
        pairs = tuple((headers or {}).items())
        messages = [Message(value, key, pairs, timestamp, partition) for value in values]
        return self.produce_messages(topic, messages, acks=acks)

    def produce_messages(self, topic: str, messages: Sequence[Message], *, acks: int = -1) -> list[tuple[int, int]]:
        """Produce messages; returns (partition, offset) of each."""
        return self._run(self._producer.send(topic, messages, now_ms=self._env.clock.time_ms(), acks=acks))

    def consume(
        self,
        topic: str,
        *,
        partition: int | None = None,
        offset: int | None = None,
        read_committed: bool = False,
    ) -> list[Consumed]:
        """All records there are now, from the start (or `offset`) to the end, ordered within each partition."""
        return self._run(self._consume(topic, partition, offset, read_committed))

    async def _consume(
        self, topic: str, partition: int | None, offset: int | None, read_committed: bool
    ) -> list[Consumed]:
        consumer = Consumer(self._cluster, read_committed=read_committed)
        partitions = None if partition is None else [partition]
        positions = await consumer.offsets(topic, partitions, EARLIEST)
        if offset is not None:
            positions = dict.fromkeys(positions, offset)
        ends = await consumer.offsets(topic, partitions, LATEST)
        return [record async for record in consumer.records(topic, positions, stop_at=ends)]

    def offsets(self, topic: str, timestamp: int = LATEST) -> dict[int, int]:
        """Offset of each partition at `timestamp`; the ends by default."""
        return self._run(Consumer(self._cluster).offsets(topic, None, timestamp))

    # --- groups ------------------------------------------------------------------------------------------------

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Offsets that a group has committed."""
        return self._run(Groups(self._cluster).committed(group))

    def members(self, group: str) -> list[str]:
        """Member ids of a group."""
        try:
            return [m.member_id for m in self._run(Groups(self._cluster).describe(group)).members]
        except RequestFailed as error:
            if error.code == ErrorCode.GROUP_ID_NOT_FOUND:
                return []
            raise

    def wait_for_assignment(self, group: str, *, members: int = 1, timeout: float | None = None) -> None:
        """Return once the group is stable with at least so many members that have assignments."""

        def assigned() -> bool:
            try:
                found = self._run(Groups(self._cluster).describe(group))
            except RequestFailed as error:
                if error.code == ErrorCode.GROUP_ID_NOT_FOUND:
                    return False
                raise
            return found.group_state == "Stable" and sum(bool(m.member_assignment) for m in found.members) >= members

        self.wait_until(assigned, f"group {group} has {members} assigned member(s)", timeout)

    def wait_until_consumed(self, group: str, topic: str, *, timeout: float | None = None) -> None:
        """Return once the group has committed up to the ends that the topic has now."""
        ends = self.offsets(topic)

        def consumed() -> bool:
            committed = self.committed(group)
            return all(committed.get((topic, p), 0) >= end for p, end in ends.items())

        self.wait_until(consumed, f"group {group} has committed {topic} up to {ends}", timeout)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float | None = None) -> None:
        """Poll `condition` until it holds. Raises TimeoutError that says `what` did not become true."""
        limit = self._timeout_s if timeout is None else timeout
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {limit:g} s it is still not so that {what}")
            time.sleep(POLL_S)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(self._timeout_s * 4)
