"""One node put together: log directories, raft replica, controller, broker, listeners; and taken down again.

Owns the order of start and stop. A single broker is a cluster of one and takes the same path: its own quorum elects it,
its own controller registers it.

Start: directories locked → metadata log opened (a quorum of one leads at once) → listeners bound → registered, caught
up → unfenced. Stop is the reverse: leaderships moved away, listeners drained, coordinators, replicas, raft, logs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from blumfeld.broker.admission import Admission
from blumfeld.broker.api.describe_configs import current_config
from blumfeld.broker.context import Broker
from blumfeld.broker.controller_apis import ControllerNode, controller_table
from blumfeld.broker.dispatch import Dispatcher
from blumfeld.broker.listener import Listener
from blumfeld.broker.published import publish
from blumfeld.broker.sessions import FetchSessions
from blumfeld.broker.table import SERVED
from blumfeld.cluster.controller.registration import ControllerRegistrar, controller_registration
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES, ControllerSettings
from blumfeld.cluster.controller.shell import QuorumController
from blumfeld.cluster.controller_channel import ControllerChannel
from blumfeld.cluster.data_plane import DataPlane
from blumfeld.cluster.image.cluster import Endpoint as RegisteredEndpoint
from blumfeld.cluster.lifecycle import BrokerLifecycle, Identity
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.snapshots import Snapshots
from blumfeld.cluster.waiting import Purgatory
from blumfeld.config.listeners import Endpoint, parse_listeners
from blumfeld.coordinator.groups import GroupCoordinator
from blumfeld.env.environment import Env
from blumfeld.launch.errors import StartError, busy_port
from blumfeld.launch.quorum import LinkCache, format_directory, make_raft
from blumfeld.storage.manager import LogManager

if TYPE_CHECKING:
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.config.sources import Config
    from blumfeld.launch.plan import Plan

_log = logging.getLogger(__name__)

LOG_TURN_S = 0.5
LOADED_POLL_S = 0.002
LAST_POLL_S = 0.05
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
        self._env = Env.in_memory() if in_memory else Env.real()
        self._serving: list[Listener] = []
        self._controllers: list[Listener] = []
        self._log_turn: asyncio.TimerHandle | None = None
        self._broker_epoch = -1
        self._undo: list[Callable[[], Awaitable[object]]] = []
        self._links = LinkCache(self._env, f"raft-{node_id}")

    @property
    def host(self) -> str:
        """The host of the first listener: where clients connect, or, of a controller alone, other nodes."""
        listeners = parse_listeners(self._config)
        return (listeners.broker or listeners.controller)[0].host or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port that listener is bound to."""
        return (self._serving or self._controllers)[0].port

    @property
    def is_broker(self) -> bool:
        """Whether process.roles has clients served; otherwise this is a controller alone."""
        return bool(parse_listeners(self._config).broker)

    async def start(self) -> None:
        """Start everything; serving when this returns. Raises OSError, StorageError or what refused us."""
        config, env = self._config, self._env
        format_directory(self._plan, self.node_id, config, env)
        self._logs = LogManager(config, env.disk, env.clock, env.entropy)
        self._undo.append(self._close_logs)
        self._logs.open(self.cluster_id, self.node_id)
        self._logs.on_directory_failure = self._on_directory_failure(asyncio.get_running_loop())
        self._loader = MetadataLoader(self._on_fault, SUPPORTED_FEATURES)
        self._raft = make_raft(self._plan, self.node_id, config, env, self._logs, self._links, self._on_fault)
        self._snapshots = Snapshots(self._raft, self._loader)
        self._controller = self._compose_controller()
        self._channel = ControllerChannel(env, self.node_id, self._raft, self._controller)
        self._compose_broker()
        at_the_end: list[Callable[[], Awaitable[object]]] = [self._snapshots.stop, self._controller.stop]
        if self._registration is not None:
            registrar = ControllerRegistrar(
                self._channel, self._registration, is_active=lambda: self._controller.is_active
            )
            self._loader.publish_to(registrar)
            at_the_end.append(registrar.stop)
        for listener in (self._loader, self._controller, self._snapshots):
            self._raft.register(listener)
        await self._listen_for_controllers()
        self._undo.append(self._raft.stop)
        await self._raft.start()
        self._undo += at_the_end
        if self.is_broker:
            await self._serve_clients()
        self._logs.wake = asyncio.get_running_loop().call_soon_threadsafe
        self._turn_logs()

    async def _serve_clients(self) -> None:
        """Join the cluster as a broker; serving when this returns."""
        config, env = self._config, self._env
        await self._listen_for_clients()
        self._undo.append(self._lifecycle.stop)
        self._lifecycle.start()
        await self._lifecycle.caught_up()
        self._undo += [self._data_plane.stop, self._groups.stop]
        self._data_plane.start()
        self._data_plane.replicas.remove_strays()
        self._lifecycle.ready()
        await self._lifecycle.unfenced()
        # Not before: metadata without this broker makes librdkafka forget it, and not always find it again.
        for serving in self._serving:
            serving.serve()
        self._undo.append(self._leave)
        if config.is_given("blumfeld.create.topics"):
            from blumfeld.launch.first_topics import make_first_topics

            await make_first_topics(config, self._channel, env.clock)
        await self._loaded()

    def _on_directory_failure(self, loop: asyncio.AbstractEventLoop) -> Callable[[bytes], None]:
        """What a thread that met the failure calls."""

        def told(directory_id: bytes) -> None:
            loop.call_soon_threadsafe(self._directory_failed)

        return told

    def _compose_controller(self) -> QuorumController:
        config = self._config
        self._registration = None
        endpoints = parse_listeners(config).controller_advertised
        if endpoints:
            self._registration = controller_registration(
                self.node_id,
                self._env.entropy.uuid(),
                [RegisteredEndpoint(e.name, e.host, e.port, e.security_protocol_id) for e in endpoints],
                SUPPORTED_FEATURES,
            )
        settings = ControllerSettings.from_config(
            config, node_id=self.node_id, cluster_id=self.cluster_id, voter_ids=[n.id for n in self._plan.nodes]
        )
        return QuorumController(
            self._env, settings, self._raft, self._loader, registration=self._registration, on_fault=self._on_fault
        )

    def _compose_broker(self) -> None:
        """The broker's parts. Of a controller alone they only answer what its listener is asked about the cluster."""
        config, env = self._config, self._env
        purgatory = Purgatory(env.clock)
        listeners = parse_listeners(config)
        inter_broker = listeners.inter_broker or (listeners.broker or listeners.controller)[0].name
        self._admission = Admission(config, protected=inter_broker if len(listeners.broker) > 1 else None)
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
            fetch_sessions=FetchSessions(config.int("max.incremental.fetch.session.cache.slots")),
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
            features=SUPPORTED_FEATURES,
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
        new_controller = image.epoch != self._broker.image.epoch
        self._broker.image = image
        self._data_plane.replicas.apply(delta, image)
        self._groups.apply(delta, image)
        publish(self._broker, image)
        if delta.configs is not None:
            self._admission.reconfigure(current_config(self._broker))
        self._lifecycle.metadata_applied(image.offset)
        if delta.cluster is not None and self._somebody_leaves(delta.cluster.changed_brokers, image):
            self._lifecycle.hurry()
        if new_controller:
            self._lifecycle.hurry()  # whose connection carries our heartbeats, is who notices when we are gone

    def _somebody_leaves(self, changed: Iterable[int], image: MetadataImage) -> bool:
        """Whether one of these brokers waits until all others have applied that it leads nothing any more."""
        brokers = image.cluster.brokers
        return any(i in brokers and brokers[i].in_controlled_shutdown for i in changed if i != self.node_id)

    async def _listen_for_controllers(self) -> None:
        node = ControllerNode(self._controller, self._raft, self._broker)
        admission = Admission(self._config)
        await admission.look_up(self._config)
        for endpoint in parse_listeners(self._config).controller:
            dispatcher = Dispatcher(node, controller_table())
            listener = await self._listen(endpoint, dispatcher, admission, self._controller.connection_lost)
            self._controllers.append(listener)

    async def _listen_for_clients(self) -> None:
        await self._admission.look_up(self._config)
        for endpoint in parse_listeners(self._config).broker:
            listener = await self._listen(endpoint, Dispatcher(self._broker, SERVED), self._admission)
            listener.hold()
            self._serving.append(listener)

    async def _listen(
        self,
        endpoint: Endpoint,
        dispatcher: Dispatcher,
        admission: Admission,
        on_closed: Callable[[int], None] | None = None,
    ) -> Listener:
        listener = Listener(endpoint.name, self._env, self._config, dispatcher, on_closed, admission=admission)
        try:
            await listener.start(endpoint.host, endpoint.port)
        except OSError as error:
            raise StartError(busy_port(endpoint.host, endpoint.port, error)) from error
        self._undo.append(listener.stop)
        return listener

    def _directory_failed(self) -> None:
        """The controller hears at once that others have to lead; a broker without any directory has nothing to do."""
        if self._logs.directory_ids():
            self._lifecycle.hurry()
        else:
            self._on_fault("all log directories are offline: see above why, repair them, and start the broker again")

    async def _loaded(self) -> None:
        """Ready means that groups can be joined: the coordinators of what this broker leads have loaded."""
        while self._groups.runtime.is_loading:  # noqa: ASYNC110  once a start, for a few milliseconds
            await asyncio.sleep(LOADED_POLL_S)

    async def _leave(self) -> None:
        """Have leaderships moved away, as long as there is anybody to move them to."""
        self._broker_epoch = self._lifecycle.broker_epoch
        leaving = asyncio.ensure_future(self._lifecycle.controlled_shutdown(CONTROLLED_SHUTDOWN_S))
        while not leaving.done() and not self._is_last():
            await asyncio.wait([leaving], timeout=LAST_POLL_S)
        leaving.cancel()
        await asyncio.wait([leaving])

    def _is_last(self) -> bool:
        """No other broker is left that could lead: a cluster that stops as a whole need not wait for itself."""
        others = self._loader.image.cluster.brokers.values()
        return all(broker.fenced or broker.in_controlled_shutdown for broker in others if broker.id != self.node_id)

    def _turn_logs(self) -> None:
        self._logs.turn(self._env.clock.time_ms())
        self._log_turn = asyncio.get_running_loop().call_later(LOG_TURN_S, self._turn_logs)

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

    async def _close_logs(self) -> None:
        if self._log_turn is not None:
            self._log_turn.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._logs.close, self._broker_epoch)
