"""A node at the other end of a link: a real socket that answers what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from blumfeld.env.net import Listener, RealNetwork
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.frame import FrameReader, decode_request_header, encode_response
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.messages.api_versions import ApiVersionsResponse

Answer = Callable[[Any], Any]
"""Called with a decoded request: the response or a future of it; None for none; `CUT` to break the connection."""

CUT = object()


class Peer:
    """A listening node. `versions`: what it announces; `answers`: by API key."""

    def __init__(self, versions: Mapping[ApiKey, tuple[int, int]], answers: Mapping[ApiKey, Answer]) -> None:
        self.versions = {ApiKey.API_VERSIONS: (0, 4), **versions}
        self.answers = dict(answers)
        self.seen: list[tuple[ApiKey, int]] = []
        self.requests: list[Any] = []
        self.transports: list[asyncio.Transport] = []
        self.listener: Listener | None = None
        self.delay_s = 0.0

    @property
    def port(self) -> int:
        assert self.listener is not None
        return self.listener.port

    def cut(self) -> None:
        """Break all connections."""
        for transport in self.transports:
            transport.abort()
        self.transports.clear()

    async def stop(self) -> None:
        """Listen no more and break all connections."""
        assert self.listener is not None
        self.cut()
        await self.listener.close()


class _Connection(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._frames = FrameReader(1 << 24)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer.transports.append(self._transport)

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._serve(frame)

    def _serve(self, frame: bytes) -> None:
        header, body = decode_request_header(frame)
        key, version = ApiKey(header.request_api_key), header.request_api_version
        self._peer.seen.append((key, version))
        low, high = self._peer.versions[key]
        if key is ApiKey.API_VERSIONS:
            fits = low <= version <= high
            response: Any = ApiVersionsResponse(
                error_code=ErrorCode.NONE if fits else ErrorCode.UNSUPPORTED_VERSION,
                api_keys=[
                    ApiVersionsResponse.ApiVersion(api_key=k, min_version=v[0], max_version=v[1])
                    for k, v in self._peer.versions.items()
                ],
            )
            version = version if fits else 0
        else:
            request = request_class(key).decode(body, version)
            self._peer.requests.append(request)
            response = self._peer.answers[key](request)
        if asyncio.isfuture(response):
            response.add_done_callback(lambda done: self._answer(header.correlation_id, version, done.result()))
        else:
            self._answer(header.correlation_id, version, response)

    def _answer(self, correlation_id: int, version: int, response: Any) -> None:
        if response is CUT:
            self._transport.abort()
        elif response is not None:
            parts = encode_response(correlation_id, version, response)
            asyncio.get_running_loop().call_later(self._peer.delay_s, self._transport.writelines, parts)


@asynccontextmanager
async def listening(peer: Peer, port: int = 0) -> AsyncIterator[Peer]:
    """Have `peer` listen on a loopback port."""
    peer.listener = await RealNetwork().listen("127.0.0.1", port, lambda: _Connection(peer))
    try:
        yield peer
    finally:
        await peer.stop()
