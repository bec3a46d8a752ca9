"""One established connection to another node: frames out, frames in, answers matched to requests.

Owns the receive state of one socket and the requests in flight on it. Used by `Link` alone.

Invariants
- Answers are matched by correlation id; one that nobody waits for breaks the connection (`ProtocolError`).
- A frame larger than the small receive buffer is received straight into a buffer of its own, of which the memory grows
  with the bytes that have arrived, never with the length that was claimed.
- After the end, no future is pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from blumfeld import __version__
from blumfeld.cluster.failures import Closed, TimedOut, UnsupportedByPeer
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.frame import decode_response, encode_request
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Buffer
    from blumfeld.protocol.schema import Request

SIZE_BYTES: Final = 4
SMALL_BYTES: Final = 16 << 10
FIRST_ALLOCATION_BYTES: Final = 1 << 20
LARGEST_FRAME_BYTES: Final = 1 << 30
API_VERSIONS_VERSION: Final = 4
"""The first that tells of features whose range starts at 0; every Apache Kafka since 4.0 has it."""
CORRELATION_IDS: Final = 1 << 31


class Conversation(asyncio.BufferedProtocol):
    """The asyncio protocol of one connection that this node opened."""

    def __init__(self, name: str, client_id: str, on_end: Callable[[Conversation], None]) -> None:
        self._name = name
        self._client_id = client_id
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._versions: dict[int, tuple[int, int]] = {}
        self._next_correlation_id = 0
        self._waiting: dict[int, tuple[asyncio.Future[Any], ApiKey, int]] = {}
        self._small = memoryview(bytearray(SMALL_BYTES))
        self._partial = b""
        self._frame: bytearray | None = None
        self._filled = 0
        self._expected = 0

    # --- asking ------------------------------------------------------------------------------------------------

    async def negotiate(self, timeout_s: float) -> None:
        """Learn which versions the other node serves (KIP-35, KIP-511)."""
        request = ApiVersionsRequest(client_software_name="blumfeld", client_software_version=__version__)
        response: ApiVersionsResponse = await self.ask(request, API_VERSIONS_VERSION, timeout_s)
        if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
            own = next((a.max_version for a in response.api_keys if a.api_key == ApiKey.API_VERSIONS), 0)
            response = await self.ask(request, min(own, API_VERSIONS_VERSION - 1), timeout_s)
        if response.error_code != ErrorCode.NONE:
            raise ProtocolError(f"{self._name} answers ApiVersions with error {response.error_code}")
        self._versions = {a.api_key: (a.min_version, a.max_version) for a in response.api_keys}

    def version_of(self, request_class: type[Request], max_version: int | None = None) -> int:
        """The highest version of a request that both sides know, at most `max_version`."""
        ours = request_class.VERSIONS
        low, high = self._versions.get(request_class.KEY, (0, -1))
        version = min(high, ours.high if max_version is None else min(ours.high, max_version))
        if version < max(low, ours.low):
            raise UnsupportedByPeer(
                f"{self._name} serves {request_class.KEY.title} {low} to {high}, we speak {ours} "
                f"(at most {max_version})"
            )
        return version

    async def ask(self, request: Request, version: int, timeout_s: float) -> Any:
        """Write one request and wait for its answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        key = type(request).KEY
        self._waiting[self.tell(request, version)] = (future, key, version)
        deadline = loop.call_later(timeout_s, self._give_up, key, timeout_s)
        try:
            return await future
        finally:
            deadline.cancel()

    def tell(self, request: Request, version: int) -> int:
        """Write one request; returns its correlation id. Raises Closed."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Closed(f"{self._name}: the connection is closed")
        correlation_id = self._next_correlation_id
        parts = encode_request(type(request).KEY, version, correlation_id, self._client_id, request)
        self._next_correlation_id = (correlation_id + 1) % CORRELATION_IDS
        transport.writelines(parts)
        return correlation_id

    def _give_up(self, key: ApiKey, timeout_s: float) -> None:
        self._fail(TimedOut(f"{self._name}: no answer to {key.title} within {timeout_s:g} s"))

    def close(self) -> None:
        """End it; whoever waits is told `Closed`."""
        self._fail(Closed(f"{self._name}: the link was closed"))

    def _fail(self, error: Exception) -> None:
        transport, self._transport = self._transport, None
        waiting, self._waiting = self._waiting, {}
        for future, _, _ in waiting.values():
            if not future.done():
                future.set_exception(error)
        if transport is not None:
            transport.abort()
            self._on_end(self)

    # --- the socket's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Closed(f"{self._name}: the connection broke{f' ({exc})' if exc else ''}"))
        self._frame = None

    def eof_received(self) -> bool:
        return False

    def get_buffer(self, sizehint: int) -> memoryview:
        frame = self._frame
        if frame is None:
            return self._small
        if self._filled == len(frame):
            frame.extend(bytes(min(len(frame), self._expected - len(frame))))
        return memoryview(frame)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._transport is None:
            return
        try:
            if self._frame is None:
                self._cut(self._small[:nbytes])
            else:
                self._filled += nbytes
                if self._filled == self._expected:
                    frame, self._frame = self._frame, None
                    self._take(frame)
        except ProtocolError as error:
            self._fail(error)

    def _cut(self, received: memoryview) -> None:
        """Take whole frames; start a buffer of its own for one that is not complete."""
        if self._partial:
            received = memoryview(self._partial + bytes(received))
            self._partial = b""
        position, end = 0, len(received)
        while end - position >= SIZE_BYTES:
            size = int.from_bytes(received[position : position + SIZE_BYTES], "big", signed=True)
            if not SIZE_BYTES <= size <= LARGEST_FRAME_BYTES:
                raise ProtocolError(f"{self._name} sends an answer of {size} bytes")
            position += SIZE_BYTES
            if end - position < size:
                frame = bytearray(min(size, FIRST_ALLOCATION_BYTES))
                self._filled = end - position
                frame[: self._filled] = received[position:end]
                self._frame, self._expected = frame, size
                return
            self._take(bytes(received[position : position + size]))
            position += size
        self._partial = bytes(received[position:end])

    def _take(self, frame: Buffer) -> None:
        """Decode one answer for whoever waits for it."""
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        asked = self._waiting.pop(correlation_id, None)
        if asked is None:
            raise ProtocolError(f"{self._name} answers request {correlation_id}, which is not in flight")
        future, key, version = asked
        if key is ApiKey.API_VERSIONS and version and frame[4:6] == b"\x00\x23":
            version = 0  # UNSUPPORTED_VERSION comes with a version-0 body, whatever was asked (KIP-511)
        try:
            response = decode_response(frame, key, version)[1]
        except ProtocolError as error:
            if not future.done():
                future.set_exception(error)
            raise
        if not future.done():
            future.set_result(response)
