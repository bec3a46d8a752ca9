"""Telling the controller in which log directory each replica lies (KIP-858).

Owns the replicas whose directory the metadata does not know, or knows wrongly. Where a broker has one directory the
controller knows by itself, and nothing is ever sent.

Invariants
- One AssignReplicasToDirs request is in flight at a time, with everything that was noted until it left.
- What was not taken for certain is sent again; what is noted anew for a replica replaces what was noted before.
- No task runs while nothing is noted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
)

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.followers import Membership

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS: Final = 10_000.0
RETRY_S: Final = 0.5
MAX_PER_REQUEST: Final = 2_000

_Directory = AssignReplicasToDirsRequest.Directory
_Replica = tuple[bytes, int]


class DirectoryAssignments:
    """What the controller shall know about this broker's directories.

    Args:
        channel: the way to the controller.
        membership: who we are.
    """

    def __init__(self, channel: ControllerChannel, membership: Membership) -> None:
        self._channel = channel
        self._membership = membership
        self._noted: dict[_Replica, bytes] = {}
        self._sender: asyncio.Task[None] | None = None
        self._stopped = False

    def note(self, topic_id: bytes, index: int, directory_id: bytes) -> None:
        """The replica of that partition lies in this directory."""
        self._noted[topic_id, index] = directory_id
        if self._sender is None and not self._stopped:
            self._sender = asyncio.get_running_loop().create_task(self._send())

    async def stop(self) -> None:
        """Send nothing any more."""
        self._stopped = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])

    async def _send(self) -> None:
        from blumfeld.cluster.controller_channel import ControllerUnavailable

        try:
            while self._noted:
                sent = dict(list(self._noted.items())[:MAX_PER_REQUEST])
                try:
                    response = await self._channel.send(self._request(sent), timeout_ms=REQUEST_TIMEOUT_MS)
                except ControllerUnavailable as error:
                    _log.info("directory assignments wait for a controller: %s", error)
                    continue
                if response.error_code == ErrorCode.NONE:
                    self._settle(sent, response)
                if self._noted:
                    await asyncio.sleep(RETRY_S)
        finally:
            self._sender = None

    def _request(self, sent: dict[_Replica, bytes]) -> AssignReplicasToDirsRequest:
        directories: dict[bytes, dict[bytes, list[_Directory.Topic.Partition]]] = {}
        for (topic_id, index), directory_id in sent.items():
            partitions = directories.setdefault(directory_id, {}).setdefault(topic_id, [])
            partitions.append(_Directory.Topic.Partition(partition_index=index))
        return AssignReplicasToDirsRequest(
            broker_id=self._membership.node_id,
            broker_epoch=self._membership.broker_epoch,
            directories=[
                _Directory(id=d, topics=[_Directory.Topic(topic_id=t, partitions=p) for t, p in topics.items()])
                for d, topics in directories.items()
            ],
        )

    def _settle(self, sent: dict[_Replica, bytes], response: AssignReplicasToDirsResponse) -> None:
        """Forget what the controller has answered; a refusal means that the partition is not ours, or is gone."""
        for directory in response.directories:
            for topic in directory.topics:
                for answer in topic.partitions:
                    replica = (topic.topic_id, answer.partition_index)
                    if self._noted.get(replica) == sent.get(replica) == directory.id:
                        del self._noted[replica]
