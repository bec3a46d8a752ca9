"""Consume: records of a topic's partitions from a position on, without a group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from blumfeld.client.errors import check
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest
from blumfeld.protocol.records import read_records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from blumfeld.client.cluster import ClusterClient

EARLIEST: Final = -2
LATEST: Final = -1
MAX_WAIT_MS: Final = 500
MAX_BYTES: Final = 8 << 20
PARTITION_MAX_BYTES: Final = 1 << 20
RETRY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Consumed:
    """One record as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Consumer:
    """Reads partitions by offset."""

    def __init__(self, cluster: ClusterClient, *, read_committed: bool = False) -> None:
        self._cluster = cluster
        self._isolation = int(read_committed)

    async def offsets(self, topic: str, partitions: Iterable[int] | None, timestamp: int) -> dict[int, int]:
        """Offset of each partition at `timestamp` (ms, EARLIEST or LATEST); -1 where there is none.

        Raises ValueError where the topic has no such partition.
        """
        asked = None if partitions is None else list(partitions)

        async def attempt() -> dict[int, int]:
            found = await self._cluster.topic(topic, leading=asked)
            wanted = {p.partition_index: p for p in found.partitions}
            chosen = sorted(wanted) if asked is None else asked
            _check_partitions(topic, chosen, wanted)
            result: dict[int, int] = {}
            for leader in {wanted[p].leader_id for p in chosen}:
                request = ListOffsetsRequest(
                    replica_id=-1,
                    isolation_level=self._isolation,
                    topics=[
                        ListOffsetsRequest.Topic(
                            name=topic,
                            partitions=[
                                ListOffsetsRequest.Topic.Partition(partition_index=p, timestamp=timestamp)
                                for p in chosen
                                if wanted[p].leader_id == leader
                            ],
                        )
                    ],
                )
                response = await self._cluster.broker(leader, request)
                for answer in response.topics[0].partitions:
                    check(answer.error_code, f"offsets of {topic}-{answer.partition_index}")
                    result[answer.partition_index] = answer.offset
            return result

        return await self._cluster.retry(attempt)

    async def records(
        self, topic: str, positions: dict[int, int], *, stop_at: dict[int, int] | None = None
    ) -> AsyncIterator[Consumed]:
        """Records from `positions` (partition → offset) on; for ever, or up to `stop_at` (exclusive).

        `positions` moves along with what was read.
        """
        while not _reached(positions, stop_at):
            wanted = [p for p in positions if stop_at is None or positions[p] < stop_at.get(p, 0)]
            answers = await self._cluster.retry(partial(self._fetch_from_leaders, topic, wanted, positions))
            progressed = False
            for consumed, next_positions in answers:
                for record in consumed:
                    if stop_at is None or record.offset < stop_at[record.partition]:
                        yield record
                progressed = progressed or bool(next_positions)
                positions.update(next_positions)
            if not progressed and stop_at is None:
                await asyncio.sleep(0)

    async def _fetch_from_leaders(
        self, topic: str, wanted: Sequence[int], positions: Mapping[int, int]
    ) -> list[tuple[list[Consumed], dict[int, int]]]:
        """One fetch from each leader of the wanted partitions; records, and the positions after them.

        Raises ValueError where the topic has no such partition."""
        found = await self._cluster.topic(topic, leading=positions)
        leaders = {p.partition_index: p.leader_id for p in found.partitions}
        _check_partitions(topic, wanted, leaders)
        fetches = [
            self._fetch(topic, found.topic_id, leader, {p: positions[p] for p in wanted if leaders.get(p) == leader})
            for leader in {leaders[p] for p in wanted}
        ]
        return await asyncio.gather(*fetches)

    async def _fetch(
        self, topic: str, topic_id: bytes, leader: int, positions: dict[int, int]
    ) -> tuple[list[Consumed], dict[int, int]]:
        request = FetchRequest(
            max_wait_ms=MAX_WAIT_MS,
            min_bytes=1,
            max_bytes=MAX_BYTES,
            isolation_level=self._isolation,
            session_id=0,
            session_epoch=-1,
            topics=[
                FetchRequest.Topic(
                    topic=topic,
                    topic_id=topic_id,
                    partitions=[
                        FetchRequest.Topic.Partition(
                            partition=p, fetch_offset=offset, partition_max_bytes=PARTITION_MAX_BYTES
                        )
                        for p, offset in positions.items()
                    ],
                )
            ],
            forgotten_topics_data=[],
        )
        response = await self._cluster.broker(leader, request)
        check(response.error_code, f"fetching from broker {leader}")
        consumed: list[Consumed] = []
        reached: dict[int, int] = {}
        for partition in (p for t in response.responses for p in t.partitions):
            code = ErrorCode(partition.error_code)
            if code.retriable and code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                await asyncio.sleep(RETRY_S)
                continue
            index = partition.partition_index
            check(code, f"fetching {topic}-{index} at {positions[index]}")
            aborted = (
                {(a.producer_id, a.first_offset) for a in partition.aborted_transactions or ()}
                if self._isolation
                else set()
            )
            records, following = _open(topic, index, partition.records, positions[index], aborted)
            consumed += records
            if following > positions[index]:
                reached[index] = following
        return consumed, reached


def _check_partitions(topic: str, asked: Iterable[int], known: Collection[int]) -> None:
    for partition in asked:
        if partition not in known:
            raise ValueError(f"topic {topic} has no partition {partition}, only {len(known)}")


def _reached(positions: dict[int, int], stop_at: dict[int, int] | None) -> bool:
    return stop_at is not None and all(offset >= stop_at.get(p, 0) for p, offset in positions.items())


def _open(
    topic: str, partition: int, data: bytes | memoryview | None, position: int, aborted: set[tuple[int, int]]
) -> tuple[list[Consumed], int]:
    """Records of whole batches from `position` on, without control batches and aborted ones; and what comes next."""
    consumed: list[Consumed] = []
    following = position
    ongoing: set[int] = set()
    for batch in iterate_batches(data or b""):
        following = max(following, batch.next_offset)
        if batch.is_control:
            ongoing.discard(batch.producer_id)
            continue
        ongoing |= {pid for pid, first in aborted if first <= batch.base_offset and pid == batch.producer_id}
        if batch.is_transactional and batch.producer_id in ongoing:
            aborted = {
                (pid, first) for pid, first in aborted if not (pid == batch.producer_id and first <= batch.base_offset)
            }
            continue
        consumed += [
            Consumed(topic, partition, r.offset, r.timestamp, r.key, r.value, r.headers)
            for r in read_records(batch)
            if r.offset >= position
        ]
    return consumed, following
