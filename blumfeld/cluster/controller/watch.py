"""Looking for evidence that a broker's process is gone.

Owns which connection carries whose heartbeats, and the probes. A broken connection alone proves nothing: only a
refused new connection to the broker's listener does, since then the host answers and nobody listens. Must never know
of sessions: it reports.

Invariant: every probe is a task that is owned here and ends with its term.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.env.environment import Env

_log = logging.getLogger(__name__)


PAUSES_S: Final = (0.0, 0.05, 0.1, 0.25, 0.5)
"""A process that is being killed may still take a connection or two: look again, unless its heartbeats are back."""


class BrokerWatch:
    """Evidence about brokers, for one active controller.

    Args:
        env: the network.
        image: tells the present metadata.
        disconnected: called with a broker's id when the connection of its heartbeats has ended.
        unreachable: called with a broker's id when its listener refuses connections.
    """

    def __init__(
        self,
        env: Env,
        image: Callable[[], MetadataImage],
        *,
        disconnected: Callable[[int], None],
        unreachable: Callable[[int], None],
    ) -> None:
        self._env = env
        self._image = image
        self._disconnected = disconnected
        self._unreachable = unreachable
        self._connections: dict[int, int] = {}
        self._probes: dict[int, asyncio.Task[None]] = {}

    def heard(self, broker_id: int, connection_id: int) -> None:
        """A heartbeat of the broker came by that connection."""
        self._connections[connection_id] = broker_id

    def lost(self, connection_id: int) -> None:
        """That connection has ended."""
        broker_id = self._connections.pop(connection_id, None)
        if broker_id is not None and broker_id not in self._connections.values():
            self._disconnected(broker_id)
            self.probe(broker_id)

    def probe(self, broker_id: int) -> None:
        """See whether anybody listens where the broker registered."""
        if broker_id not in self._probes:
            task = asyncio.get_running_loop().create_task(self._probe(broker_id))
            self._probes[broker_id] = task
            task.add_done_callback(lambda _: self._probes.pop(broker_id, None))

    def forget(self) -> None:
        """The term is over."""
        self._connections.clear()
        for task in list(self._probes.values()):
            task.cancel()

    async def stop(self) -> None:
        self.forget()
        if self._probes:
            await asyncio.wait(list(self._probes.values()))

    async def _probe(self, broker_id: int) -> None:
        from blumfeld.cluster.link import Refused, probe  # needed only where there are other nodes

        for pause in PAUSES_S:
            await asyncio.sleep(pause)
            broker = self._image().cluster.brokers.get(broker_id)
            if broker is None or broker_id in self._connections.values():
                return
            endpoint = next(iter(broker.listeners.values()), None)
            if endpoint is None:
                return
            if isinstance(await probe(self._env, endpoint.host, endpoint.port), Refused):
                self._unreachable(broker_id)
                return
