"""The network: listening and connecting, thin over the running event loop.

Owns sockets until a transport has them. Knows no bytes of any protocol. Connecting distinguishes a peer that
refused (`ConnectionRefusedError`: nobody listens there) from one that did not answer in time
(`TimeoutError`); whatever else went wrong is another `OSError`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from ssl import SSLContext

P = TypeVar("P", bound=asyncio.BaseProtocol)

DEFAULT_BACKLOG = 50  # Kafka's socket.listen.backlog.size


class Listener(Protocol):
    """A bound and listening address. `port` is the real one where 0 was asked for."""

    host: str
    port: int

    async def close(self) -> None:
        """Stop accepting and give the socket back; connections made before stay."""
        ...


class Network(Protocol):
    """Where connections come from."""

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int = DEFAULT_BACKLOG,
        tls: SSLContext | None = None,
    ) -> Listener:
        """Accept connections at `host` (empty: all interfaces) and `port` (0: any free one)."""
        ...

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], P],
        timeout: float,  # noqa: ASYNC109 - refusals and timeouts are told apart here
        *,
        tls: SSLContext | None = None,
    ) -> tuple[asyncio.Transport, P]:
        """Connect within `timeout` seconds; else ConnectionRefusedError, TimeoutError or another OSError."""
        ...

    async def resolve(self, host: str) -> set[str]:
        """The addresses of a name (an address is its own). Raises OSError where nobody knows it."""
        ...


class RealListener:
    """A server socket of the running loop."""

    def __init__(self, host: str, server: asyncio.Server) -> None:
        self.host = host
        self.port: int = server.sockets[0].getsockname()[1]
        self._server = server

    async def close(self) -> None:
        self._server.close()  # not wait_closed: that waits for the connections too
        await asyncio.sleep(0)


class RealNetwork:
    """TCP by the running event loop, whichever it is."""

    __slots__ = ()

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int = DEFAULT_BACKLOG,
        tls: SSLContext | None = None,
    ) -> Listener:
        loop = asyncio.get_running_loop()
        if not host and port == 0:
            # Any free port on all interfaces: one socket for both families would be asked for twice and get
            # two ports.
            host = "0.0.0.0"  # noqa: S104 - all interfaces is what an empty host means
        server = await loop.create_server(protocol_factory, host or None, port, backlog=backlog, ssl=tls)
        return RealListener(host, server)

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], P],
        timeout: float,  # noqa: ASYNC109
        *,
        tls: SSLContext | None = None,
    ) -> tuple[asyncio.Transport, P]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                return await loop.create_connection(protocol_factory, host, port, ssl=tls)
        except TimeoutError:
            raise TimeoutError(f"{host}:{port} did not answer within {timeout:g} s") from None
        except OSError as error:
            raise _told_apart(error, host, port) from error

    async def resolve(self, host: str) -> set[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
        return {str(entry[4][0]) for entry in found}


def _told_apart(error: OSError, host: str, port: int) -> OSError:
    """A refusal stays one where a name has several addresses and the loop reports a plain OSError."""
    if error.errno is not None:
        return error
    codes = [part.partition("]")[0] for part in str(error).split("[Errno ")[1:]]
    if codes and all(code == str(errno.ECONNREFUSED) for code in codes):
        return ConnectionRefusedError(errno.ECONNREFUSED, f"{host}:{port} refused the connection")
    return error
