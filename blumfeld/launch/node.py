"""One node put together: log directories, raft replica, and by its roles controller, broker, or both; taken down again.

Owns the order of start and stop. A single broker is a cluster of one and takes the same path: its own quorum elects it,
its own controller registers it. A node that is only a controller has no broker half (`broker_role.py`); one that is
only a broker observes the quorum.

Start: directories locked → metadata log opened (a quorum of one leads at once) → listeners bound → registered, caught
up → unfenced. Stop is the reverse: leaderships moved away, listeners drained, coordinators, replicas, raft, logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.broker.admission import Admission
from blumfeld.broker.context import Member
from blumfeld.broker.controller_apis import ControllerNode, controller_table
from blumfeld.broker.dispatch import Dispatcher
from blumfeld.cluster.controller.registration import ControllerRegistrar, controller_registration
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES, ControllerSettings
from blumfeld.cluster.controller.shell import QuorumController
from blumfeld.cluster.controller_channel import ControllerChannel
from blumfeld.cluster.image.cluster import Endpoint as RegisteredEndpoint
from blumfeld.cluster.link import Links
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.snapshots import Snapshots
from blumfeld.config.listeners import parse_listeners
from blumfeld.env.environment import Env
from blumfeld.launch.broker_role import BrokerRole, Undo
from blumfeld.launch.formatting import format_directory
from blumfeld.launch.listening import listen
from blumfeld.launch.quorum import make_raft
from blumfeld.storage.manager import LogManager

if TYPE_CHECKING:
    from blumfeld.broker.listener import Listener
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.raft.driver import RaftDriver
    from blumfeld.config.sources import Config
    from blumfeld.launch.plan import Plan

LOG_TURN_S = 0.5


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
        self._env = Env.in_memory() if in_memory else Env.real()
        self._listeners = parse_listeners(config)
        self.broker: BrokerRole | None = None
        self._controlling: list[Listener] = []
        self._log_turn: asyncio.TimerHandle | None = None
        self._undo: Undo = []
        self._links = Links(self._env, client_id=f"raft-{node_id}")

    @property
    def host(self) -> str:
        """Where clients connect (of a controller alone: other nodes): the host of the first listener."""
        return (self._listeners.broker or self._listeners.controller)[0].host or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port that listener is bound to."""
        return self._controlling[0].port if self.broker is None else self.broker.port

    @property
    def is_broker(self) -> bool:
        """Whether process.roles has clients served; otherwise this is a controller alone."""
        return bool(self._listeners.broker)

    async def start(self) -> None:
        """Start everything; serving when this returns. Raises OSError, StorageError or what refused us."""
        config, env = self._config, self._env
        format_directory(self._plan, self.node_id, config, env)
        self._logs = LogManager(config, env.disk, env.clock, env.entropy)
        self._undo.append(self._close_logs)
        self._logs.open(self.cluster_id, self.node_id)
        self._logs.on_directory_failure = self._on_directory_failure(asyncio.get_running_loop())
        self._loader = MetadataLoader(self._on_fault, SUPPORTED_FEATURES)
        raft = make_raft(self._plan, self.node_id, config, env, self._logs, self._links, self._on_fault)
        snapshots = Snapshots(raft, self._loader)
        controller = self._compose_controller(raft) if "controller" in config.list("process.roles") else None
        self._channel = ControllerChannel(env, self.node_id, raft, controller)
        self._undo.append(self._close_links)
        self._member = Member(env, config, self.node_id, self.cluster_id, self._loader.image, self._channel)
        if self.is_broker:
            self.broker = BrokerRole(self._member, self._listeners, self._logs)
        self._loader.publish_to(self._apply if self.broker is None else self.broker.apply)
        at_the_end: Undo = [snapshots.stop]
        raft.register(self._loader)
        if controller is not None:
            at_the_end += [controller.stop, *self._register_controller(controller)]
            raft.register(controller)
        raft.register(snapshots)
        if controller is not None:
            await self._listen_for_controllers(controller, raft)
        self._undo.append(raft.stop)
        await raft.start()
        self._undo += at_the_end
        if self.broker is not None:
            await self._serve_clients(self.broker)
        self._logs.wake = asyncio.get_running_loop().call_soon_threadsafe
        self._turn_logs()

    async def _serve_clients(self, broker: BrokerRole) -> None:
        await broker.start(self._undo)
        if self._config.is_given("blumfeld.create.topics"):
            from blumfeld.launch.first_topics import make_first_topics

            await make_first_topics(broker.broker)
        await broker.loaded()

    def _on_directory_failure(self, loop: asyncio.AbstractEventLoop) -> Callable[[bytes], None]:
        """What a thread that met the failure calls."""

        def told(directory_id: bytes) -> None:
            loop.call_soon_threadsafe(self._directory_failed)

        return told

    def _directory_failed(self) -> None:
        """A node without any directory has nothing to do."""
        if not self._logs.directory_ids():
            self._on_fault("all log directories are offline: see above why, repair them, and start the broker again")
        elif self.broker is not None:
            self.broker.directory_failed()

    def _compose_controller(self, raft: RaftDriver) -> QuorumController:
        endpoints = self._listeners.controller_advertised
        self._registration = None
        if endpoints:
            self._registration = controller_registration(
                self.node_id,
                self._env.entropy.uuid(),
                [RegisteredEndpoint(e.name, e.host, e.port, e.security_protocol_id) for e in endpoints],
                SUPPORTED_FEATURES,
            )
        settings = ControllerSettings.from_config(self._config, node_id=self.node_id, cluster_id=self.cluster_id)
        return QuorumController(
            self._env, settings, raft, self._loader, registration=self._registration, on_fault=self._on_fault
        )

    def _register_controller(self, controller: QuorumController) -> Undo:
        """See to it that the metadata name this controller; what is to be undone."""
        if self._registration is None:
            return []
        registrar = ControllerRegistrar(self._channel, self._registration, is_active=lambda: controller.is_active)
        self._loader.publish_to(registrar)
        return [registrar.stop]

    def _apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Metadata moved, on a node that is no broker."""
        self._member.image = image

    async def _listen_for_controllers(self, controller: QuorumController, raft: RaftDriver) -> None:
        config = self._config
        member = self._member if self.broker is None else self.broker.broker
        node = ControllerNode(controller, raft, member)
        admission = Admission(config)
        await admission.look_up(config, self._env.network)
        for endpoint in self._listeners.controller:
            dispatcher = Dispatcher(node, controller_table())
            self._controlling.append(
                await listen(endpoint, self._env, config, dispatcher, admission, self._undo, controller.connection_lost)
            )

    def _turn_logs(self) -> None:
        self._log_turn = asyncio.get_running_loop().call_later(LOG_TURN_S, self._turn_logs)
        self._logs.turn(self._env.clock.time_ms())

    async def stop(self) -> None:
        """Stop everything that was started, in reverse order; safe at any point of the start.

        What fails keeps nothing else from being stopped: the first error is raised at the end.
        """
        failed: Exception | None = None
        while self._undo:
            try:
                await self._undo.pop()()
            except Exception as error:  # noqa: BLE001  raised below
                failed = failed or error
        if failed is not None:
            raise failed

    async def _close_links(self) -> None:
        self._links.close()
        self._channel.close()

    async def _close_logs(self) -> None:
        if self._log_turn is not None:
            self._log_turn.cancel()
        self._logs.wake = None
        epoch = -1 if self.broker is None else self.broker.last_epoch
        await asyncio.get_running_loop().run_in_executor(None, self._logs.close, epoch)
