"""The replicas of one broker, wired to their fetchers, ISR changes, directory assignments and the purgatory.

Owns the composition and the ISR turn. What `broker/server.py` starts and stops.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blumfeld.cluster.directory_assignments import DirectoryAssignments
from blumfeld.cluster.fetcher import Fetchers
from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.cluster import ClusterImage
from blumfeld.cluster.isr_changes import IsrChanges
from blumfeld.cluster.replicas import ReplicaManager

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.partition import Partition
    from blumfeld.cluster.waiting import Purgatory
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env
    from blumfeld.storage.manager import LogManager


class DataPlane:
    """Replication on one broker.

    Args:
        env: clock and network.
        config: the broker's options.
        node_id: this broker.
        logs: its logs, open.
        purgatory: where requests wait.
        channel: the way to the controller.
        listener: the name of the inter-broker listener.
    """

    def __init__(
        self,
        env: Env,
        config: Config,
        node_id: int,
        logs: LogManager,
        purgatory: Purgatory,
        channel: ControllerChannel,
        listener: str,
    ) -> None:
        self.membership = Membership(node_id, ClusterImage())
        self._channel = channel
        self._isr_changes = IsrChanges(channel, self.membership, env.clock, self._settle)
        self._fetchers = Fetchers(
            env,
            config,
            self.membership,
            listener,
            self._settle,
            lambda partition, offset: logs.flushed(partition.log, offset),
        )
        self._directories = DirectoryAssignments(channel, self.membership)
        self.replicas = ReplicaManager(
            logs,
            self.membership,
            env.clock,
            config,
            wake=purgatory.check,
            followed=self._fetchers,
            propose=self._isr_changes.submit,
            note_directory=self._directories.note,
        )
        self._turn: asyncio.TimerHandle | None = None

    def registered(self, broker_epoch: int) -> None:
        """The controller knows this broker under `broker_epoch` from now on: fetch, propose, allocate with it."""
        self.membership.broker_epoch = broker_epoch
        self._channel.broker_epoch = broker_epoch
        self._fetchers.registered()

    def start(self) -> None:
        """The metadata has caught up with our registration: lead and follow what it says from now on."""
        self.replicas.begin()
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        self._turn = asyncio.get_running_loop().call_later(self.replicas.isr_turn_s, self._isr_turn)

    async def stop(self) -> None:
        """Fetch and propose nothing any more. The logs stay open: they are the log manager's."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        await self._fetchers.stop()
        await self._isr_changes.stop()
        await self._directories.stop()

    def _isr_turn(self) -> None:
        self._schedule_turn()
        self.replicas.shrink_isrs()

    def _settle(self, partition: Partition) -> None:
        self.replicas.settle(partition)
