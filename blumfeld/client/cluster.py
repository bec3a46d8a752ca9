"""One cluster seen from outside: its brokers, links to them, metadata, and requests sent to the right one.

Owns the links and the metadata fetched last. Retries what Kafka's errors call retriable until the caller's time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from blumfeld.client.errors import ClientError, NoBroker, RequestFailed, check
from blumfeld.cluster.link import Link, LinkError
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.metadata import MetadataRequest, MetadataResponse
from blumfeld.protocol.primitives import ZERO_UUID

if TYPE_CHECKING:
    from blumfeld.env.environment import Env
    from blumfeld.protocol.schema import Request

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 30.0
RETRY_S = 0.02
MAX_RETRY_S = 0.25
DEFAULT_PORT = 9092


def parse_servers(bootstrap_servers: str) -> list[tuple[str, int]]:
    """`host:port,host,[::1]:port` → addresses. Raises ValueError with the part that is wrong."""
    servers = []
    for part in filter(None, (p.strip() for p in bootstrap_servers.split(","))):
        host, colon, port = part.rpartition(":")
        if not colon or "]" in port:
            host, port = part, str(DEFAULT_PORT)
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"bootstrap server {part!r}: expected host:port")
        servers.append((host.strip("[]"), int(port)))
    if not servers:
        raise ValueError("no bootstrap server given: expected host:port[,host:port…]")
    return servers


class ClusterClient:
    """Requests to one cluster.

    Args:
        env: clock and network.
        bootstrap_servers: comma-separated host:port.
        client_id: shown in the brokers' logs.
        timeout_s: how long a call retries before it raises.
        unknown_topic_s: how long it retries where a topic is not known; as long as anything else if left out.
    """

    def __init__(
        self,
        env: Env,
        bootstrap_servers: str,
        *,
        client_id: str = "blumfeld",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        unknown_topic_s: float | None = None,
    ) -> None:
        self._env = env
        self._client_id = client_id
        self.timeout_s = timeout_s
        self._unknown_topic_s = timeout_s if unknown_topic_s is None else unknown_topic_s
        self._bootstrap = [self._link(host, port) for host, port in parse_servers(bootstrap_servers)]
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, tuple[str, int]] = {}
        self._controller_id = -1

    def _link(self, host: str, port: int) -> Link:
        return Link(self._env, host, port, client_id=self._client_id)

    async def close(self) -> None:
        """Close every connection."""
        for link in [*self._bootstrap, *self._links.values()]:
            link.close()
        await asyncio.sleep(0)

    async def retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call `attempt` until it succeeds, fails for good, or time is up; then the last error is raised."""
        began = self._env.clock.monotonic()
        pause = RETRY_S
        while True:
            try:
                return await attempt()
            except (RequestFailed, NoBroker, LinkError) as error:
                if self._env.clock.monotonic() + pause > began + self._patience_s(error):
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RETRY_S)

    def _patience_s(self, error: ClientError | LinkError) -> float:
        """How long what failed so is tried again, from the first time on."""
        if not isinstance(error, RequestFailed):
            return self.timeout_s
        if error.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            return self._unknown_topic_s
        return self.timeout_s if error.code.retriable else 0.0

    async def any_broker(self, request: Request) -> Any:
        """Send to whichever broker answers."""
        last: LinkError | None = None
        for link in [*self._links.values(), *self._bootstrap]:
            try:
                return await link.send(request)
            except LinkError as error:
                last = error
        raise NoBroker(f"no broker could be reached: {last}") from last

    async def broker(
        self,
        node_id: int,
        request: Request,
        *,
        timeout_ms: float | None = None,
        max_version: int | None = None,
    ) -> Any:
        """Send to one broker, known by node id from metadata."""
        return await self._link_to(node_id).send(request, timeout_ms=timeout_ms, max_version=max_version)

    async def tell_broker(self, node_id: int, request: Request) -> None:
        """Send what has no answer to one broker; see `Link.tell`."""
        await self._link_to(node_id).tell(request)

    def _link_to(self, node_id: int) -> Link:
        link = self._links.get(node_id)
        if link is None:
            address = self._addresses.get(node_id)
            if address is None:
                raise NoBroker(f"broker {node_id} is not known")
            link = self._links[node_id] = self._link(*address)
        return link

    async def metadata(self, topics: Iterable[str] | None = None, *, create: bool = False) -> MetadataResponse:
        """Cluster metadata: of all topics (None) or of those named. Errors of topics are left in the response."""
        wanted = None if topics is None else [MetadataRequest.Topic(name=name) for name in topics]
        request = MetadataRequest(topics=wanted, allow_auto_topic_creation=create)
        response: MetadataResponse = await self.any_broker(request)
        for broker in response.brokers:
            address = (broker.host, broker.port)
            if self._addresses.get(broker.node_id) != address:
                self._addresses[broker.node_id] = address
                stale = self._links.pop(broker.node_id, None)
                if stale is not None:
                    stale.close()
        self._controller_id = response.controller_id
        return response

    async def topic(
        self, name: str, *, create: bool = False, leading: Container[int] | None = None
    ) -> MetadataResponse.Topic:
        """One topic, once it exists and its partitions have leaders: those of `leading`, or all."""

        async def attempt() -> MetadataResponse.Topic:
            found = (await self.metadata([name], create=create)).topics[0]
            check(found.error_code, f"topic {name}")
            for partition in found.partitions:
                if leading is None or partition.partition_index in leading:
                    check(partition.error_code, f"{name}-{partition.partition_index}")
            return found

        try:
            return await self.retry(attempt)
        except RequestFailed as error:
            if error.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise RequestFailed(error.code, f"topic {name}", "no such topic") from error
            raise

    async def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: dict[str, str] | None = None,
    ) -> None:
        """Create a topic; returns when its leaders serve. -1: the cluster's default."""
        config_type = CreateTopicsRequest.Topic.Config
        topic = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=partitions,
            replication_factor=replication_factor,
            assignments=[],
            configs=[config_type(name=key, value=value) for key, value in (configs or {}).items()],
        )
        request = CreateTopicsRequest(topics=[topic], timeout_ms=int(self.timeout_s * 1000))

        async def attempt() -> None:
            result = (await self.any_broker(request)).topics[0]
            check(result.error_code, f"creating topic {name}", result.error_message)

        await self.retry(attempt)
        await self.topic(name)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        request = DeleteTopicsRequest(
            topics=[DeleteTopicsRequest.Topic(name=name, topic_id=ZERO_UUID)],
            timeout_ms=int(self.timeout_s * 1000),
        )

        async def attempt() -> None:
            result = (await self.any_broker(request)).responses[0]
            check(result.error_code, f"topic {name}", result.error_message)

        await self.retry(attempt)

    async def coordinator(self, group_id: str) -> int:
        """The node id of a group's coordinator."""

        async def attempt() -> int:
            request = FindCoordinatorRequest(key_type=0, coordinator_keys=[group_id])
            response = await self.any_broker(request)
            found = response.coordinators[0]
            check(found.error_code, f"coordinator of group {group_id}", found.error_message)
            self._addresses.setdefault(found.node_id, (found.host, found.port))
            return int(found.node_id)

        return await self.retry(attempt)
