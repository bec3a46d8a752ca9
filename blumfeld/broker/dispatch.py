"""From a frame to a started request: gate (key, version), decode, call the handler.

Owns nothing but the table it was given. The same dispatcher class serves broker and controller listeners: what is
served, and on whose behalf, are its arguments.

A handler is `handler(subject, context, request)` and returns the response, `None` where no reply is sent (Produce with
acks=0), or an awaitable of the response. Plain values make no future and no task.

Errors: `ProtocolError` for everything after which the peer can't be understood (unknown key, version that is not
served, undecodable body); the connection closes then, as Apache Kafka's does. ApiVersions alone answers an unknown
version, with a version-0 body (KIP-511).
"""

from __future__ import annotations

import asyncio
import inspect
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from blumfeld.broker.context import Context
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.frame import decode_request_header, encode_response
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.primitives import Buffer
from blumfeld.protocol.schema import Request, Response

Handler: TypeAlias = Callable[[Any, Context, Any], Response | Awaitable[Response] | None]

_KEY_AND_VERSION = struct.Struct(">hh")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, and what it dialled."""

    connection_id: int
    listener: str
    host: str
    local_host: str
    local_port: int


@dataclass(frozen=True, slots=True)
class Api:
    """One row of a table: which versions are served and, loaded at first use, by what."""

    key: ApiKey
    first_version: int
    last_version: int
    load: Callable[[], Handler]


class Started:
    """A request whose handler was called: the reply, or what will become it."""

    __slots__ = ("_correlation_id", "_future", "_parts", "_version", "lets_others_start")

    def __init__(self, version: int, correlation_id: int, *, lets_others_start: bool) -> None:
        self._version = version
        self._correlation_id = correlation_id
        self._parts: list[Buffer] | None = None
        self._future: asyncio.Future[Response] | None = None
        self.lets_others_start = lets_others_start

    def reply_with(self, response: Response) -> None:
        self._parts = encode_response(self._correlation_id, self._version, response)

    def wait_for(self, awaitable: Awaitable[Response]) -> None:
        self._future = asyncio.ensure_future(awaitable)

    @property
    def is_done(self) -> bool:
        return self._future is None or self._future.done()

    def when_done(self, callback: Callable[[], None]) -> None:
        assert self._future is not None
        self._future.add_done_callback(lambda _: callback())

    def take(self) -> list[Buffer]:
        """The encoded reply. Raises what the handler raised."""
        if self._parts is None:
            assert self._future is not None
            try:
                self.reply_with(self._future.result())
            except asyncio.CancelledError as error:
                raise ProtocolError("the request was given up while it waited") from error
            assert self._parts is not None
        return self._parts

    def abandon(self) -> None:
        """The connection is gone: whoever still works on the reply may stop."""
        if self._future is not None and not self._future.done():
            self._future.add_done_callback(_retrieve)
            self._future.cancel()
        elif self._future is not None:
            _retrieve(self._future)


def _retrieve(future: asyncio.Future[Response]) -> None:
    if not future.cancelled():
        future.exception()


class Dispatcher:
    """Starts requests of one kind of listener for one subject (a `Broker`, or a controller)."""

    def __init__(self, subject: object, table: Mapping[int, Api]) -> None:
        self._subject = subject
        self._table = table
        self._loaded: dict[int, tuple[Api, type[Request], Handler]] = {}

    def may_overtake(self, frame: bytearray) -> bool:
        """May this request start while produce requests before it wait for replication?"""
        return bool(_KEY_AND_VERSION.unpack_from(frame)[0] == ApiKey.PRODUCE)

    def start(self, peer: Peer, frame: bytearray) -> Started | None:
        """Decode one request and call its handler. None: there will be no reply."""
        key, version = _KEY_AND_VERSION.unpack_from(frame)
        loaded = self._loaded.get(key) or self._load(key)
        api, request_type, handler = loaded
        if not api.first_version <= version <= api.last_version:
            if key != ApiKey.API_VERSIONS:
                raise ProtocolError(
                    f"{api.key.name} version {version} is not served, only {api.first_version} to {api.last_version}"
                )
            return self._unsupported_api_versions(peer, frame, handler)
        header, body = decode_request_header(frame)
        request = request_type.decode(body, version)
        context = Context(header, peer)
        return _begin(handler(self._subject, context, request), version, header.correlation_id, key == ApiKey.PRODUCE)

    def _load(self, key: int) -> tuple[Api, type[Request], Handler]:
        api = self._table.get(key)
        if api is None:
            raise ProtocolError(f"API key {key} is not served")
        loaded = self._loaded[key] = (api, request_class(api.key), api.load())
        return loaded

    def _unsupported_api_versions(self, peer: Peer, frame: bytearray, handler: Handler) -> Started | None:
        """A client newer than we are: the handler sees that its version is above ours and says so (KIP-511)."""
        correlation_id = int.from_bytes(frame[4:8], "big", signed=True)
        context = Context.without_header(peer, ApiKey.API_VERSIONS, _KEY_AND_VERSION.unpack_from(frame)[1])
        request = request_class(ApiKey.API_VERSIONS)()
        return _begin(handler(self._subject, context, request), 0, correlation_id, False)


def _begin(
    result: Response | Awaitable[Response] | None, version: int, correlation_id: int, is_produce: bool
) -> Started | None:
    if result is None:
        return None
    started = Started(version, correlation_id, lets_others_start=is_produce)
    if isinstance(result, Response):
        started.reply_with(result)
    else:
        assert inspect.isawaitable(result)
        started.wait_for(result)
    return started
