"""Bytes in, frames out: sizes, headers, correlation. No sockets.

Owns which header version goes with which message (KIP-482), and the size prefix. Everything after the header
is the message's own.

Invariants: headers are read and written here by hand, since every request has one; they are the same bytes
as those of `messages/header.py` (a test compares them). Whatever is wrong with a frame is a ProtocolError.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.keys import ApiKey, request_class, response_class
from blumfeld.protocol.messages.header import RequestHeader
from blumfeld.protocol.primitives import Buffer, decode_unsigned_varint, read_tagged_fields
from blumfeld.protocol.schema import Message, Request, Response

SIZE: Final = Struct(">i")
"""The prefix of every frame: the size of what follows it."""

_REQUEST_HEADER: Final = Struct(">hhih")
_REQUEST_START: Final = Struct(">ihhih")
_RESPONSE_START: Final = Struct(">ii")
_FLEXIBLE_RESPONSE_START: Final = Struct(">iib")
_NEVER: Final = 32768
_MAX_HEADER_TAGS: Final = 64
"""Tagged fields that a header may have. Kafka has defined none so far."""

_flexible_from: dict[int, int] = {}
"""By API key, the first version with a flexible request: filled as keys are met."""


def request_header_version(key: int, version: int) -> int:
    """2 where the request is flexible, else 1. LookupError for a key without messages."""
    try:
        return 2 if version >= _flexible_from[key] else 1
    except KeyError:
        _flexible_from[key] = _first_flexible(request_class(_api_key(key)))
    return 2 if version >= _flexible_from[key] else 1


def response_header_version(key: int, version: int) -> int:
    """1 where the response is flexible, else 0; ApiVersions' is always 0, so that any client can read it."""
    api_key = _api_key(key)
    return int(api_key is not ApiKey.API_VERSIONS and version >= _first_flexible(response_class(api_key)))


def _first_flexible(message: type[Message]) -> int:
    return _NEVER if message.FLEXIBLE is None else message.FLEXIBLE


def _api_key(key: int) -> ApiKey:
    try:
        return ApiKey(key)
    except ValueError:
        raise LookupError(f"there is no API key {key}") from None


def decode_request_header(frame: Buffer) -> tuple[RequestHeader, memoryview]:
    """The header of a request's frame (its size prefix taken off) and the body, uncopied.

    The version need not be one that is served, or known: a flexible API stays flexible. ProtocolError for a
    key without messages, and for a header that makes no sense.
    """
    view = memoryview(frame)
    header = object.__new__(RequestHeader)
    header.unknown_tagged_fields = None
    try:
        key, version, header.correlation_id, size = _REQUEST_HEADER.unpack_from(view, 0)
        header.request_api_key, header.request_api_version = key, version
        position = _REQUEST_HEADER.size
        if size >= 0:
            header.client_id = str(view[position : position + size], "utf-8")
            position += size
        elif size == -1:
            header.client_id = None
        else:
            raise ProtocolError(f"request header: a client id of {size} bytes")
        if request_header_version(key, version) == 2:
            if view[position]:
                header.unknown_tagged_fields, position = _read_tags(view, position)
            else:
                position += 1
    except (struct_error, IndexError, UnicodeDecodeError, LookupError) as error:
        raise ProtocolError(f"request header: {error}") from error
    if position > len(view):
        raise ProtocolError(f"request header: {position - len(view)} bytes are missing")
    return header, view[position:]


def _read_tags(view: memoryview, position: int) -> tuple[dict[int, bytes], int]:
    count, position = decode_unsigned_varint(view, position)
    if count > _MAX_HEADER_TAGS:
        raise ProtocolError(f"a header with {count} tagged fields; {_MAX_HEADER_TAGS} are allowed")
    return read_tagged_fields(view, position, count)


def encode_request(
    key: ApiKey, version: int, correlation_id: int, client_id: str | None, request: Request
) -> list[Buffer]:
    """A whole frame, size first, in parts to be written in order."""
    parts = request.encode_parts(version)
    encoded_id = b"" if client_id is None else client_id.encode()
    id_size = -1 if client_id is None else len(encoded_id)
    tags = b"\0" if request_header_version(key, version) == 2 else b""
    size = _REQUEST_HEADER.size + len(encoded_id) + len(tags) + sum(map(len, parts))
    start = _REQUEST_START.pack(size, key, version, correlation_id, id_size)
    parts[0] = b"".join((start, encoded_id, tags, parts[0]))
    return parts


def encode_response(correlation_id: int, version: int, response: Response) -> list[Buffer]:
    """A whole frame, size first, in parts to be written in order."""
    parts = response.encode_parts(version)
    size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
    flexible = response.FLEXIBLE
    if flexible is not None and version >= flexible and response.KEY != ApiKey.API_VERSIONS:
        parts[0] = _FLEXIBLE_RESPONSE_START.pack(size + 5, correlation_id, 0) + parts[0]
    else:
        parts[0] = _RESPONSE_START.pack(size + 4, correlation_id) + parts[0]
    return parts


def decode_response(frame: Buffer, key: ApiKey, version: int) -> tuple[int, Response]:
    """Correlation id and response of a frame (its size prefix taken off)."""
    view = memoryview(frame)
    try:
        correlation_id: int = SIZE.unpack_from(view, 0)[0]
        position = SIZE.size
        if response_header_version(key, version):
            position = _read_tags(view, position)[1]
    except struct_error as error:
        raise ProtocolError(f"response header: {error}") from error
    return correlation_id, response_class(key).decode(view[position:], version)


class FrameReader:
    """Cuts a stream of bytes into frames: feed it, and take what is complete. For links and tools."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """The largest size that a frame may announce."""
        self._buffer = bytearray()

    def feed(self, data: Buffer) -> list[bytes]:
        """The frames that `data` completes, without their size prefixes.

        Raises ProtocolError as soon as a size is known to be negative or over the limit; the reader is of no
        use after that.
        """
        buffer = self._buffer
        buffer += data
        frames = []
        start, available = 0, len(buffer)
        while available - start >= SIZE.size:
            size = SIZE.unpack_from(buffer, start)[0]
            if not 0 <= size <= self.limit:
                raise ProtocolError(f"a frame of {size} bytes; {self.limit} are allowed")
            end = start + SIZE.size + size
            if end > available:
                break
            frames.append(bytes(memoryview(buffer)[start + SIZE.size : end]))
            start = end
        del buffer[:start]
        return frames
