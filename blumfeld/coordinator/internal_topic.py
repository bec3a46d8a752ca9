"""An internal topic that a coordinator keeps its state in: created when it is first needed.

Owns the question to the controller and the waiting for the answer to arrive as metadata. Invariants: at most one
creation is under way; whoever waits is woken when the topic is known here, when its creation is refused, or when
its own time is up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.coordinator.partitioning import partition_for
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.image.topics import TopicsImage

_log = logging.getLogger(__name__)

CREATE_TIMEOUT_MS = 30_000
_ACCEPTED = (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS)


class InternalTopic:
    """One internal topic.

    Args:
        name: its name.
        partitions, replication_factor, configs: what it is created with.
        controller: who creates it.
    """

    def __init__(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        configs: Mapping[str, str],
        controller: ControllerChannel,
    ) -> None:
        self.name = name
        self._partitions = partitions
        self._replication_factor = replication_factor
        self._configs = configs
        self._controller = controller
        self._exists = False
        self._creation: asyncio.Task[bool] | None = None
        self._known: asyncio.Event = asyncio.Event()

    @property
    def exists(self) -> bool:
        """Whether metadata that has been applied here knows the topic."""
        return self._exists

    @property
    def partitions(self) -> int:
        """How many partitions it has, or will have."""
        return self._partitions

    def partition_for(self, key: str) -> int:
        """The partition that a group or transactional id belongs to."""
        return partition_for(key, self._partitions)

    def apply(self, topics: TopicsImage) -> None:
        """Metadata was applied."""
        topic = topics.get(self.name)
        self._exists = topic is not None
        if topic is not None:
            self._partitions = len(topic.partitions)
            self._known.set()
        else:
            self._known.clear()

    async def ensure(self, timeout_ms: int) -> bool:
        """Create the topic unless there is one; whether it is known here within `timeout_ms`."""
        if self._exists:
            return True
        if self._creation is None or self._creation.done():
            self._creation = asyncio.get_running_loop().create_task(self._create())
        creation = self._creation
        arrival = asyncio.ensure_future(self._arrival(creation))
        try:
            await asyncio.wait({arrival}, timeout=timeout_ms / 1000)
            if arrival.done():
                arrival.result()
        finally:
            arrival.cancel()
        return self._exists

    async def stop(self) -> None:
        """Give a creation under way up."""
        creation, self._creation = self._creation, None
        if creation is not None:
            creation.cancel()
            await asyncio.gather(creation, return_exceptions=True)

    async def _arrival(self, creation: asyncio.Task[bool]) -> None:
        if await asyncio.shield(creation):
            await self._known.wait()

    async def _create(self) -> bool:
        request = CreateTopicsRequest(
            topics=[
                CreateTopicsRequest.Topic(
                    name=self.name,
                    num_partitions=self._partitions,
                    replication_factor=self._replication_factor,
                    assignments=[],
                    configs=[
                        CreateTopicsRequest.Topic.Config(name=name, value=value)
                        for name, value in self._configs.items()
                    ],
                )
            ],
            timeout_ms=CREATE_TIMEOUT_MS,
        )
        try:
            response = await self._controller.send(request, timeout_ms=CREATE_TIMEOUT_MS)
        except ControllerUnavailable as error:
            _log.warning("%s cannot be created: %s", self.name, error)
            return False
        result = response.topics[0]
        if result.error_code in _ACCEPTED:
            return True
        _log.warning("%s cannot be created: %s", self.name, result.error_message or ErrorCode(result.error_code).text)
        return False
