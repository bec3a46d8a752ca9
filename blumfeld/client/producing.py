"""Produce: records to their partition, one request each call, acknowledged as asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blumfeld.client.errors import check
from blumfeld.client.partitioner import partition_for
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.records import Header, Record, build_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blumfeld.client.cluster import ClusterClient

NO_ACKS = 0
PRODUCE_TIMEOUT_MS = 30_000


@dataclass(slots=True)
class Message:
    """One record to produce. `timestamp` in ms since the epoch, None for now; `partition` None: by key."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=tuple)
    timestamp: int | None = None
    partition: int | None = None


class Producer:
    """Produces to a cluster. Keyed records go by murmur2, others round robin by call."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster
        self._turn = 0

    async def send(
        self,
        topic: str,
        messages: Sequence[Message],
        *,
        now_ms: int,
        acks: int = -1,
        codec: Codec = Codec.NONE,
    ) -> list[tuple[int, int]]:
        """Produce `messages`; returns (partition, offset) of each, in order; with acks=0 the offsets are −1.

        Raises:
            RequestFailed: refused for good, or still refused when the client's time was up.
        """
        found = await self._cluster.topic(topic, create=True, leading=())
        count = len(found.partitions)
        self._turn += 1
        by_partition: dict[int, list[int]] = {}
        for position, message in enumerate(messages):
            partition = message.partition
            if partition is None:
                key = message.key
                partition = self._turn % count if key is None else partition_for(key, count)
            by_partition.setdefault(partition, []).append(position)
        placed: list[tuple[int, int]] = [(-1, -1)] * len(messages)
        for partition, positions in by_partition.items():
            batch = _batch([messages[p] for p in positions], now_ms, codec)
            base = await self._append(topic, partition, batch, acks)
            for delta, position in enumerate(positions):
                placed[position] = (partition, base + delta if base >= 0 else -1)
        return placed

    async def _append(self, topic: str, partition: int, batch: bytes, acks: int) -> int:
        async def attempt() -> int:
            found = await self._cluster.topic(topic, leading=(partition,))
            leader = next((p.leader_id for p in found.partitions if p.partition_index == partition), None)
            if leader is None:
                raise ValueError(f"topic {topic} has no partition {partition}, only {len(found.partitions)}")
            data = ProduceRequest.Topic(
                name=topic,
                topic_id=found.topic_id,
                partition_data=[ProduceRequest.Topic.Partition(index=partition, records=batch)],
            )
            request = ProduceRequest(transactional_id=None, acks=acks, timeout_ms=PRODUCE_TIMEOUT_MS, topic_data=[data])
            if acks == NO_ACKS:
                await self._cluster.tell_broker(leader, request)
                return -1
            response = await self._cluster.broker(leader, request)
            result = response.responses[0].partition_responses[0]
            check(result.error_code, f"producing to {topic}-{partition}", result.error_message)
            return int(result.base_offset)

        return await self._cluster.retry(attempt)


def _batch(messages: Sequence[Message], now_ms: int, codec: Codec) -> bytes:
    return build_batch(
        [
            Record(
                delta,
                message.timestamp if message.timestamp is not None else now_ms,
                message.key,
                message.value,
                tuple(Header(*header) for header in message.headers),
            )
            for delta, message in enumerate(messages)
        ],
        codec=codec,
    )
