"""A listening address and its connections: admission, limits, idle sweep, graceful stop.

Owns the set of open connections of one listener and the receive buffer that they share (a read and its handling are
one turn of the loop, so one buffer is enough). Knows no API. How many may connect, and how many bytes they may send at
once, is `admission.py`'s business, since that counts over several listeners.

Limits (options): `socket.request.max.bytes`, `connections.max.idle.ms`, `socket.listen.backlog.size`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.broker.admission import Admission
from blumfeld.broker.complaints import Complaints
from blumfeld.broker.connection import Connection
from blumfeld.broker.dispatch import Dispatcher, Peer

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env
    from blumfeld.env.net import Listener as Socket

RECEIVE_BUFFER_BYTES = 64 << 10
WRITE_BUFFER_HIGH_BYTES = 1 << 20
IDLE_SWEEPS_PER_INTERVAL = 4
DRAIN_POLL_S = 0.01
BACKLOG = 1024
"""Kafka's default of 50 is too little for one event loop, which accepts between other things: of a hundred clients that
come at once, some would wait a second until their system tries again."""
_BACKLOG_OPTION = "socket.listen.backlog.size"


class Listener:
    """One listener of a node, serving what its dispatcher serves."""

    max_pipelined = 1000
    """Produce requests of one connection that may wait for replication at once."""

    def __init__(
        self,
        name: str,
        env: Env,
        config: Config,
        dispatcher: Dispatcher,
        on_closed: Callable[[int], None] | None = None,
        *,
        admission: Admission | None = None,
    ) -> None:
        """`on_closed` is told the id of every connection that ends. `admission`: what it shares with other listeners
        (default: limits of its own)."""
        self.name = name
        self.is_holding = False
        """Connections are taken and requests received, but none is started: the node is not ready to answer."""
        self.dispatcher = dispatcher
        self.complaints = Complaints(env.clock)
        self.max_frame_bytes = config.int("socket.request.max.bytes")
        self.receive_view = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.monotonic = env.clock.monotonic
        self._env = env
        self._on_closed = on_closed
        self._admission = admission if admission is not None else Admission(config)
        self.budget = self._admission.budget
        given = config.is_given(_BACKLOG_OPTION)
        self._backlog = config.int(_BACKLOG_OPTION) if given else BACKLOG
        self._max_idle_s = config.int("connections.max.idle.ms") / 1000
        self._connections: set[Connection] = set()
        self._next_id = 0
        self._socket: Socket | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The bound port."""
        assert self._socket is not None, "listener not started"
        return self._socket.port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Bind and accept. `port` 0 takes a free one. Raises OSError where the address can't be had."""
        self._socket = await self._env.network.listen(host, port, lambda: Connection(self), backlog=self._backlog)

    def hold(self) -> None:
        """Start no requests until `serve`."""
        self.is_holding = True

    def serve(self) -> None:
        """Start what was held."""
        self.is_holding = False
        for connection in list(self._connections):
            connection.serve()

    async def stop(self, grace_s: float = 1.0) -> None:
        """Accept no more, give waiting requests `grace_s` seconds, then close everything."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._socket is not None:
            await self._socket.close()
        await self._drain(grace_s)
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    async def _drain(self, grace_s: float) -> None:
        """Wait until no reply is owed, `grace_s` seconds at most."""
        for _ in range(int(grace_s / DRAIN_POLL_S)):
            if not any(connection.is_waiting for connection in self._connections):
                return
            await asyncio.sleep(DRAIN_POLL_S)

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Peer | None:
        """Register a new connection, or None where a limit is reached."""
        transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH_BYTES)
        remote = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        host = str(remote[0])
        limit = self._admission.admit(connection, self.name, host)
        if limit is not None:
            self.complaints.add("too many connections", "refusing connection from %s: %s reached", host, limit)
            return None
        self._next_id += 1
        self._connections.add(connection)
        if self._sweep is None and self._max_idle_s > 0:
            self._schedule_sweep()
        return Peer(self._next_id, self.name, host, str(local[0]), int(local[1]))

    def forget(self, connection: Connection) -> None:
        """A connection ended."""
        self._admission.forget(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            if self._on_closed is not None and connection.peer is not None:
                self._on_closed(connection.peer.connection_id)

    def _schedule_sweep(self) -> None:
        delay_s = self._max_idle_s / IDLE_SWEEPS_PER_INTERVAL
        self._sweep = asyncio.get_running_loop().call_later(delay_s, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = self.monotonic() - self._max_idle_s
        for connection in [c for c in self._connections if c.is_idle_since(oldest)]:
            connection.abort()  # a close would wait for replies to be taken
        if self._connections:
            self._schedule_sweep()
