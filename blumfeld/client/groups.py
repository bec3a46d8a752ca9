"""Groups seen from outside: listing, describing, committed offsets and lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blumfeld.client.consuming import LATEST, Consumer
from blumfeld.client.errors import check
from blumfeld.protocol.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from blumfeld.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest

if TYPE_CHECKING:
    from blumfeld.client.cluster import ClusterClient


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one group is on one partition. `committed` -1: nothing committed."""

    topic: str
    partition: int
    committed: int
    end: int

    @property
    def lag(self) -> int:
        """Records between the commit and the end."""
        return self.end - max(self.committed, 0)


class Groups:
    """Requests about consumer groups."""

    def __init__(self, cluster: ClusterClient) -> None:
        self._cluster = cluster

    async def listed(self) -> list[ListGroupsResponse.Group]:
        """All groups of the cluster."""

        async def attempt() -> list[ListGroupsResponse.Group]:
            listed: list[ListGroupsResponse.Group] = []
            for broker in (await self._cluster.metadata([])).brokers:
                request = ListGroupsRequest(states_filter=[], types_filter=[])
                response = await self._cluster.broker(broker.node_id, request)
                check(response.error_code, f"listing groups of broker {broker.node_id}")
                listed += response.groups
            return listed

        return await self._cluster.retry(attempt)

    async def describe(self, group_id: str) -> DescribeGroupsResponse.Group:
        """State, protocol and members of one group."""

        async def attempt() -> DescribeGroupsResponse.Group:
            node = await self._cluster.coordinator(group_id)
            response = await self._cluster.broker(node, DescribeGroupsRequest(groups=[group_id]))
            found: DescribeGroupsResponse.Group = response.groups[0]
            check(found.error_code, f"group {group_id}")
            return found

        return await self._cluster.retry(attempt)

    async def committed(self, group_id: str) -> dict[tuple[str, int], int]:
        """Committed offset by (topic, partition)."""

        async def attempt() -> dict[tuple[str, int], int]:
            node = await self._cluster.coordinator(group_id)
            group = OffsetFetchRequest.Group(group_id=group_id, topics=None)
            # Topic names came back as ids in version 10: versions up to 9 keep this readable.
            response = await self._cluster.broker(node, OffsetFetchRequest(groups=[group]), max_version=9)
            found = response.groups[0]
            check(found.error_code, f"offsets of group {group_id}")
            return {
                (topic.name, partition.partition_index): partition.committed_offset
                for topic in found.topics
                for partition in topic.partitions
                if partition.committed_offset >= 0
            }

        return await self._cluster.retry(attempt)

    async def lags(self, group_id: str) -> list[Lag]:
        """Committed offset and end of every partition the group committed for."""
        committed = await self.committed(group_id)
        consumer = Consumer(self._cluster)
        lags = []
        for topic in sorted({topic for topic, _ in committed}):
            partitions = sorted(p for t, p in committed if t == topic)
            ends = await consumer.offsets(topic, partitions, LATEST)
            lags += [Lag(topic, p, committed[topic, p], ends[p]) for p in partitions]
        return lags
