"""One node put together: log directories, raft replica, controller, broker, listeners; and taken down again.

Owns the order of start and stop. A single broker is a cluster of one and takes the same path: its own quorum elects it,
its own controller registers it.

Start: directories locked → metadata log opened (a quorum of one leads at once) → listeners bound → registered, caught
up → unfenced. Stop is the reverse: leaderships moved away, listeners drained, coordinators, replicas, raft, logs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from blumfeld.broker.context import Broker
from blumfeld.broker.dispatch import Dispatcher
from blumfeld.broker.listener import Listener
from blumfeld.broker.table import SERVED
from blumfeld.cluster.controller.shell import QuorumController
from blumfeld.cluster.controller_channel import ControllerChannel
from blumfeld.cluster.data_plane import DataPlane
from blumfeld.cluster.image.cluster import Endpoint as RegisteredEndpoint
from blumfeld.cluster.lifecycle import BrokerLifecycle, Identity
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.raft.driver import RaftDriver
from blumfeld.cluster.waiting import Purgatory
from blumfeld.config.listeners import parse_listeners
from blumfeld.coordinator.groups import GroupCoordinator
from blumfeld.env.environment import Env
from blumfeld.launch.quorum import LinkCache, format_directory, make_raft
from blumfeld.storage.manager import LogManager

if TYPE_CHECKING:
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.config.sources import Config
    from blumfeld.launch.plan import Plan

_log = logging.getLogger(__name__)

LOG_TURN_S = 0.5
CONTROLLED_SHUTDOWN_S = 5.0
DRAIN_S = 1.0


class Node:
    """Broker, controller, or both, in this process.

    Args:
        plan: the cluster that the node belongs to.
        node_id: which node of it.
        config: its properties.
        on_fault: called with what happened when the node can't go on.
    """

    def __init__(self, plan: Plan, node_id: int, config: Config, on_fault: Callable[[str], None]) -> None:
        self._plan = plan
        self._config = config
        self.node_id = node_id
        self.cluster_id = plan.cluster_id
        self._on_fault = on_fault
        in_memory = not config.is_given("log.dirs") and not config.is_given("log.dir")
        limit = config.int("blumfeld.memory.max.bytes")
        self._env = Env.in_memory(limit if limit > 0 else None) if in_memory else Env.real()
        self._listening: list[Listener] = []
        self._log_turn: asyncio.TimerHandle | None = None
        self._broker_epoch = -1
        self._undo: list[Callable[[], Awaitable[object]]] = []
        self._links = LinkCache(self._env, f"raft-{node_id}")

    @property
    def host(self) -> str:
        """Where clients connect: the host of the first broker listener."""
        return parse_listeners(self._config).broker[0].host or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port that listener is bound to."""
        return self._listening[0].port

    async def start(self) -> None:
        """Start everything; serving when this returns. Raises OSError, StorageError or what refused us."""
        config, env = self._config, self._env
        format_directory(self._plan, self.node_id, config, env)
        self._logs = LogManager(config, env.disk, env.clock, env.entropy)
        self._undo.append(self._close_logs)
        self._logs.open(self.cluster_id, self.node_id)
        self._loader = MetadataLoader(self._on_fault)
        self._raft = make_raft(self._plan, self.node_id, config, env, self._logs, self._links)
        self._controller = QuorumController(env, config, self.node_id, self._raft)
        self._channel = ControllerChannel(env, self.node_id, self._raft, self._controller)
        self._raft.register(self._controller)
        self._raft.register(self._loader)
        self._compose_broker()
        await self._raft.start()
        await self._listen()
        self._lifecycle.start()
        await self._lifecycle.caught_up()
        self._data_plane.start()
        self._lifecycle.ready()
        await self._lifecycle.unfenced()
        self._turn_logs()

    def _compose_broker(self) -> None:
        config, env = self._config, self._env
        purgatory = Purgatory(env.clock)
        listeners = parse_listeners(config)
        inter_broker = listeners.inter_broker or listeners.broker[0].name
        self._data_plane = DataPlane(env, config, self.node_id, self._logs, purgatory, self._channel, inter_broker)
        replicas = self._data_plane.replicas
        self._groups = GroupCoordinator(env, config, replicas, self._channel)
        self._broker = Broker(
            env=env,
            config=config,
            node_id=self.node_id,
            cluster_id=self.cluster_id,
            image=self._loader.image,
            replicas=replicas,
            groups=self._groups,
            controller=self._channel,
            purgatory=purgatory,
        )
        self._purgatory = purgatory
        self._loader.publish_to(self._apply)
        identity = Identity(
            node_id=self.node_id,
            cluster_id=self.cluster_id,
            listeners=[
                RegisteredEndpoint(e.name, e.host or "127.0.0.1", e.port, e.security_protocol_id)
                for e in (listeners.advertised.get(bound.name, bound) for bound in listeners.broker)
            ],
            features={},
            log_directories=self._logs.directory_ids(),
            rack=config.optional_str("broker.rack"),
            previous_broker_epoch=self._logs.clean_shutdown_broker_epoch,
        )
        self._lifecycle = BrokerLifecycle(
            env,
            identity,
            self._channel,
            config,
            metadata_offset=lambda: self._loader.image.offset,
            on_registered=self._data_plane.registered,
            offline_directories=self._logs.offline_directory_ids,
        )

    def _apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        self._broker.image = image
        self._data_plane.replicas.apply(delta, image)
        self._groups.apply(delta, image)
        self._lifecycle.metadata_applied(image.offset)

    async def _listen(self) -> None:
        listeners = parse_listeners(self._config)
        for endpoint in listeners.broker:
            listener = Listener(endpoint.name, self._env, self._config, Dispatcher(self._broker, SERVED))
            await listener.start(endpoint.host, endpoint.port)
            self._listening.append(listener)

    def _turn_logs(self) -> None:
        self._logs.turn(self._env.clock.time_ms())
        self._log_turn = asyncio.get_running_loop().call_later(LOG_TURN_S, self._turn_logs)

    async def stop(self) -> None:
        """Stop everything that was started, in reverse order; safe at any point of the start."""
        while self._undo:
            await self._undo.pop()()

    async def _close_logs(self) -> None:
        if self._log_turn is not None:
            self._log_turn.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._logs.close, self._broker_epoch)
