"""A connection from this node to another one, or from a tool to a broker: the client side of the protocol.

Owns one connection: opened when first needed, ApiVersions negotiated before anything else is sent, requests pipelined
and matched to answers by correlation id, each with a deadline.

Must never know what a request means, nor who leads what: it reports how a conversation failed and leaves the
conclusions to others. In particular it tells *refused* (nobody listens there: evidence that the process is dead) from
*unreachable*, *timed out* and *closed* (which prove nothing).

Failures
    LinkError
    ├── Unreachable          no connection could be made in time
    │   └── Refused          the host answered: nobody listens on that port
    ├── Closed               the connection broke while the request was in flight, or the link was closed
    ├── TimedOut             connected, but no answer in time; the connection is closed, as its answers are now late
    └── UnsupportedByPeer    connected, but the other node knows no version of the request that we know

Invariants
- A request is written at most once; whether it was carried out is unknown after `Closed` and `TimedOut`.
- The first request on a connection is ApiVersions; no other leaves before its answer.
- A request's version is the highest that both sides know, never above the caller's ceiling.
- When the connection ends, every request in flight fails; none is left waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blumfeld.cluster.conversation import Conversation
from blumfeld.cluster.failures import Closed, LinkError, Refused, TimedOut, Unreachable, UnsupportedByPeer

if TYPE_CHECKING:
    from ssl import SSLContext

    from blumfeld.env.environment import Env
    from blumfeld.protocol.schema import Request

__all__ = [
    "Closed",
    "Link",
    "LinkError",
    "Links",
    "Refused",
    "TimedOut",
    "Unreachable",
    "UnsupportedByPeer",
    "probe",
]

REQUEST_TIMEOUT_MS = 30_000.0
CONNECT_TIMEOUT_MS = 5_000.0
PROBE_TIMEOUT_MS = 250.0
NOT_CONNECTED = (OSError, ValueError, OverflowError)
"""How connecting fails: TimeoutError is an OSError; the others say that a node registered with what is no address."""


class Link:
    """One connection to one address, made again whenever it is needed and broken.

    Args:
        env: the network and the clock.
        host, port: where the other node listens.
        client_id: goes into each request header.
        request_timeout_ms: the deadline of a request, unless `send` is told another.
        connect_timeout_ms: how long connecting and negotiating may take.
        on_lost: called once for each established connection that ends, other than by `close()`.
        tls: for an encrypted listener.
    """

    def __init__(
        self,
        env: Env,
        host: str,
        port: int,
        *,
        client_id: str = "",
        request_timeout_ms: float = REQUEST_TIMEOUT_MS,
        connect_timeout_ms: float = CONNECT_TIMEOUT_MS,
        on_lost: Callable[[Link], None] | None = None,
        tls: SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._env = env
        self._client_id = client_id
        self._request_timeout_ms = request_timeout_ms
        self._connect_timeout_ms = connect_timeout_ms
        self._on_lost = on_lost
        self._tls = tls
        self._conversation: Conversation | None = None
        self._connecting: asyncio.Task[Conversation] | None = None

    def __repr__(self) -> str:
        return f"Link({self.host}:{self.port}, {'connected' if self.connected else 'not connected'})"

    @property
    def connected(self) -> bool:
        """Whether there is a negotiated connection now."""
        return self._conversation is not None

    async def send(self, request: Request, *, timeout_ms: float | None = None, max_version: int | None = None) -> Any:
        """Send `request` and return the decoded answer, an instance of `type(request).RESPONSE`.

        Connects first where there is no connection; a failed connect is reported, not retried.

        Raises:
            LinkError: see the tree above.
            ProtocolError: the answer could not be decoded (the connection is closed).
        """
        conversation = self._conversation or await self._connect()
        timeout_s = (self._request_timeout_ms if timeout_ms is None else timeout_ms) / 1000
        return await conversation.ask(request, conversation.version_of(type(request), max_version), timeout_s)

    async def tell(self, request: Request) -> None:
        """Send a `request` that has no answer (Produce with acks=0); returns when the other node has handled it: when
        what was sent behind it is answered.

        Raises LinkError: `Closed` may be how the other node refuses what it cannot answer.
        """
        conversation = self._conversation or await self._connect()
        conversation.tell(request, conversation.version_of(type(request)))
        await conversation.negotiate(self._request_timeout_ms / 1000)

    async def version_for(self, request_class: type[Request], max_version: int | None = None) -> int:
        """The version that a request of this class would be sent with; connects first if need be."""
        conversation = self._conversation or await self._connect()
        return conversation.version_of(request_class, max_version)

    async def connect(self) -> None:
        """Have a negotiated connection. Raises LinkError."""
        if self._conversation is None:
            await self._connect()

    def close(self) -> None:
        """Close the connection; requests in flight fail with `Closed`. The link may be used again."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()

    async def _connect(self) -> Conversation:
        """Connect and negotiate, once for all who ask meanwhile."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._open())
            self._connecting.add_done_callback(self._connected)
        try:
            return await asyncio.shield(self._connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Closed(f"the link to {self.host}:{self.port} was closed while it connected") from None

    def _connected(self, task: asyncio.Task[Conversation]) -> None:
        if self._connecting is task:
            self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever asked has been told; nobody may be left to ask

    async def _open(self) -> Conversation:
        timeout_s = self._connect_timeout_ms / 1000
        name = f"{self.host}:{self.port}"
        deadline = self._env.clock.monotonic() + timeout_s
        try:
            _, conversation = await self._env.network.connect(
                self.host, self.port, lambda: Conversation(name, self._client_id, self._ended), timeout_s, tls=self._tls
            )
        except ConnectionRefusedError as error:
            raise Refused(f"{name}: nobody listens") from error
        except NOT_CONNECTED as error:
            raise Unreachable(f"{name}: {error}") from error
        try:
            await conversation.negotiate(max(deadline - self._env.clock.monotonic(), 0.001))
        except BaseException:
            conversation.close()
            raise
        self._conversation = conversation
        return conversation

    def _ended(self, conversation: Conversation) -> None:
        if self._conversation is conversation:
            self._conversation = None
            if self._on_lost is not None:
                self._on_lost(self)


class Links:
    """Links by address, each made when first asked for. Serves `raft.driver.PeerLinks`."""

    def __init__(self, env: Env, *, client_id: str = "", on_lost: Callable[[Link], None] | None = None) -> None:
        self._env = env
        self._client_id = client_id
        self._on_lost = on_lost
        self._links: dict[tuple[str, int], Link] = {}

    def to(self, host: str, port: int) -> Link:
        """The link to an address."""
        link = self._links.get((host, port))
        if link is None:
            link = self._links[host, port] = Link(
                self._env, host, port, client_id=self._client_id, on_lost=self._on_lost
            )
        return link

    async def send(self, host: str, port: int, request: Request, *, timeout_ms: float) -> Any:
        """`Link.send` to that address."""
        return await self.to(host, port).send(request, timeout_ms=timeout_ms)

    def close(self) -> None:
        """Close all links."""
        links, self._links = self._links, {}
        for link in links.values():
            link.close()


async def probe(env: Env, host: str, port: int, *, timeout_ms: float = PROBE_TIMEOUT_MS) -> LinkError | None:
    """Try to open a bare connection: None when somebody listens, otherwise what went wrong (`Refused` is evidence)."""
    try:
        transport, _ = await env.network.connect(host, port, asyncio.Protocol, timeout_ms / 1000)
    except ConnectionRefusedError:
        return Refused(f"{host}:{port}: nobody listens")
    except NOT_CONNECTED as error:
        return Unreachable(f"{host}:{port}: {error}")
    transport.abort()
    return None
