"""What a node with the broker role has beside its share of the metadata quorum: replicas, coordinators, clients.

Owns the serving broker's composition, its listeners for clients and its life in the eyes of the controller.

Start: clients' listeners bound → registered, caught up → replicas begin → unfenced → clients are answered. `Node` keeps
what is to be undone, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from blumfeld.broker.admission import Admission
from blumfeld.broker.api.describe_configs import current_config
from blumfeld.broker.context import Broker, Member
from blumfeld.broker.dispatch import Dispatcher
from blumfeld.broker.listener import Listener
from blumfeld.broker.published import publish
from blumfeld.broker.recently_fenced import RecentlyFenced
from blumfeld.broker.sessions import FetchSessions
from blumfeld.broker.table import SERVED
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES
from blumfeld.cluster.data_plane import DataPlane
from blumfeld.cluster.image.cluster import Endpoint as RegisteredEndpoint
from blumfeld.cluster.lifecycle import BrokerLifecycle, Identity
from blumfeld.cluster.waiting import Purgatory
from blumfeld.config.listeners import Listeners
from blumfeld.coordinator.groups import GroupCoordinator
from blumfeld.launch.listening import listen

if TYPE_CHECKING:
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.storage.manager import LogManager

LOADED_POLL_S = 0.002
LAST_POLL_S = 0.05
CONTROLLED_SHUTDOWN_S = 5.0

Undo = list[Callable[[], Awaitable[object]]]


class BrokerRole:
    """The broker half of a node.

    Args:
        member: the node.
        listeners: of its configuration.
        logs: its logs, open.
    """

    def __init__(self, member: Member, listeners: Listeners, logs: LogManager) -> None:
        env, config, channel = member.env, member.config, member.controller
        inter_broker = listeners.inter_broker
        assert inter_broker is not None, "no broker"
        self._listeners = listeners
        self._logs = logs
        self._serving: list[Listener] = []
        self.last_epoch = -1
        """The broker epoch at the beginning of a clean stop."""
        purgatory = Purgatory(env.clock)
        self.admission = Admission(config, protected=inter_broker if len(listeners.broker) > 1 else None)
        self.data_plane = DataPlane(env, config, member.node_id, logs, purgatory, channel, inter_broker)
        self._groups = GroupCoordinator(env, config, self.data_plane.replicas, channel)
        self.broker = Broker(
            env=env,
            config=config,
            node_id=member.node_id,
            cluster_id=member.cluster_id,
            image=member.image,
            controller=channel,
            replicas=self.data_plane.replicas,
            groups=self._groups,
            purgatory=purgatory,
            fetch_sessions=FetchSessions(config.int("max.incremental.fetch.session.cache.slots")),
            recently_fenced=RecentlyFenced(env.clock),
        )
        self._lifecycle = BrokerLifecycle(
            env,
            self._identity(),
            channel,
            config,
            metadata_offset=lambda: self.broker.image.offset,
            on_registered=self.data_plane.registered,
            offline_directories=logs.offline_directory_ids,
        )

    def _identity(self) -> Identity:
        broker, listeners = self.broker, self._listeners
        return Identity(
            node_id=broker.node_id,
            cluster_id=broker.cluster_id,
            listeners=[
                RegisteredEndpoint(e.name, e.host or "127.0.0.1", e.port, e.security_protocol_id)
                for e in (listeners.advertised.get(bound.name, bound) for bound in listeners.broker)
            ],
            features=SUPPORTED_FEATURES,
            log_directories=self._logs.directory_ids(),
            rack=broker.config.optional_str("broker.rack"),
            previous_broker_epoch=self._logs.clean_shutdown_broker_epoch,
        )

    @property
    def port(self) -> int:
        """The port that the first listener for clients is bound to."""
        return self._serving[0].port

    def apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Metadata moved: replicas, coordinators and handlers follow. A publisher of the loader."""
        new_controller = image.epoch != self.broker.image.epoch
        self.broker.image = image
        if delta.cluster is not None:
            self.broker.recently_fenced.apply(delta.cluster)
        self.data_plane.replicas.apply(delta, image)
        self._groups.apply(delta, image)
        publish(self.broker, image)
        if delta.configs is not None:
            self.admission.reconfigure(current_config(self.broker))
        self._lifecycle.metadata_applied(image.offset)
        if delta.cluster is not None and self._somebody_leaves(delta.cluster.changed_brokers, image):
            self._lifecycle.hurry()
        if new_controller:
            self._lifecycle.hurry()  # whose connection carries our heartbeats, is who notices when we are gone

    def _somebody_leaves(self, changed: Iterable[int], image: MetadataImage) -> bool:
        """Whether one of these brokers waits until all others have applied that it leads nothing any more."""
        brokers, own_id = image.cluster.brokers, self.broker.node_id
        return any(i in brokers and brokers[i].in_controlled_shutdown for i in changed if i != own_id)

    async def start(self, undo: Undo) -> None:
        """Register and serve. What is to be undone is added to `undo`, at once where the start may still fail."""
        await self._listen(undo)
        undo.append(self._lifecycle.stop)
        self._lifecycle.start()
        await self._lifecycle.caught_up()
        undo += [self.data_plane.stop, self._groups.stop]
        self.data_plane.start()
        self.data_plane.replicas.remove_strays()
        self._lifecycle.ready()
        await self._lifecycle.unfenced()
        # Not before: metadata without this broker makes librdkafka forget it, and not always find it again.
        for serving in self._serving:
            serving.serve()
        undo.append(self._leave)

    async def _listen(self, undo: Undo) -> None:
        env, config = self.broker.env, self.broker.config
        await self.admission.look_up(config, env.network)
        for endpoint in self._listeners.broker:
            dispatcher = Dispatcher(self.broker, SERVED)
            listener = await listen(endpoint, env, config, dispatcher, self.admission, undo)
            listener.hold()
            self._serving.append(listener)

    async def loaded(self) -> None:
        """Ready means that groups can be joined: the coordinators of what this broker leads have loaded."""
        while self._groups.runtime.is_loading:  # noqa: ASYNC110  once a start, for a few milliseconds
            await asyncio.sleep(LOADED_POLL_S)

    def directory_failed(self) -> None:
        """Nothing is fetched into it any more, and the controller hears at once that others have to lead."""
        self.data_plane.replicas.directory_failed()
        self._lifecycle.hurry()

    async def _leave(self) -> None:
        """Have leaderships moved away, as long as there is anybody to move them to."""
        self.last_epoch = self._lifecycle.broker_epoch
        leaving = asyncio.ensure_future(self._lifecycle.controlled_shutdown(CONTROLLED_SHUTDOWN_S))
        while not leaving.done() and not self._is_last():
            await asyncio.wait([leaving], timeout=LAST_POLL_S)
        leaving.cancel()
        await asyncio.wait([leaving])

    def _is_last(self) -> bool:
        """No other broker is left that could lead: a cluster that stops as a whole need not wait for itself."""
        others = self.broker.image.cluster.brokers.values()
        return all(
            broker.fenced or broker.in_controlled_shutdown for broker in others if broker.id != self.broker.node_id
        )
