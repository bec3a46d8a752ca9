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
    └── TimedOut             connected, but no answer in time; the connection is closed, as its answers are now late

Invariants
- A request is written at most once; whether it was carried out is unknown after `Closed` and `TimedOut`.
- The first request on a connection is ApiVersions; no other leaves before its answer.
- A request's version is the highest that both sides know, never above the caller's ceiling.
- When the connection ends, every request in flight fails; none is left waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blumfeld.env.environment import Env
    from blumfeld.protocol.schema import Request


class LinkError(Exception):
    """No answer was had from the other node."""


class Unreachable(LinkError):
    """No connection could be made in time."""


class Refused(Unreachable):
    """The host answered that nobody listens on that port: the process is gone, or not there yet."""


class Closed(LinkError):
    """The connection broke while the request was in flight, or the link was closed."""


class TimedOut(LinkError):
    """The other node was connected but did not answer in time."""


class UnsupportedByPeer(LinkError):
    """The other node does not know the request, or no version of it that we know."""


class Link:
    """One connection to one address, made again whenever it is needed and broken.

    Args:
        env: the network and the clock.
        host, port: where the other node listens.
        client_id: goes into each request header.
        request_timeout_ms: the deadline of a request, unless `send` is told another.
        connect_timeout_ms: how long connecting and negotiating may take.
        on_lost: called once for each established connection that ends, other than by `close()`.
    """

    def __init__(
        self,
        env: Env,
        host: str,
        port: int,
        *,
        client_id: str = "",
        request_timeout_ms: float = 30_000,
        connect_timeout_ms: float = 5_000,
        on_lost: Callable[[Link], None] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether there is a negotiated connection now."""
        raise NotImplementedError

    async def send(self, request: Request, *, timeout_ms: float | None = None, max_version: int | None = None) -> Any:
        """Send `request` and return the decoded answer, an instance of `type(request).RESPONSE`.

        Connects first where there is no connection; a failed connect is reported, not retried.

        Raises:
            LinkError: see the tree above.
            ProtocolError: the answer could not be decoded (the connection is closed).
        """
        raise NotImplementedError

    async def version_for(self, request_class: type[Request]) -> int:
        """The version that a request of this class would be sent with; connects first if need be."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; requests in flight fail with `Closed`. The link may be used again."""
        raise NotImplementedError


async def probe(env: Env, host: str, port: int, *, timeout_ms: float = 250) -> LinkError | None:
    """Try to open a bare connection: None when somebody listens, otherwise what went wrong (`Refused` is evidence)."""
    raise NotImplementedError
