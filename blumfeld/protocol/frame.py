"""Bytes in, frames out: sizes, headers, correlation. No sockets.

Owns which header version goes with which message (KIP-482), and the size prefix. Everything after the header
is the message's own.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Buffer

if TYPE_CHECKING:
    from blumfeld.protocol.messages.header import RequestHeader
    from blumfeld.protocol.schema import Request, Response

SIZE = Struct(">i")


def request_header_version(key: int, version: int) -> int:
    """2 where the request is flexible, else 1. LookupError for a key without messages."""
    raise AssertionError("not yet")


def response_header_version(key: int, version: int) -> int:
    """1 where the response is flexible, else 0; ApiVersions' is always 0, so that any client can read it."""
    raise AssertionError("not yet")


def decode_request_header(frame: Buffer) -> tuple[RequestHeader, memoryview]:
    """The header of a request's frame (its size prefix taken off) and the body, uncopied.

    ProtocolError where key or header make no sense. The version need not be served: a header of an unknown
    version is read as that of the highest one known, as Kafka does.
    """
    raise AssertionError("not yet")


def encode_request(
    key: ApiKey, version: int, correlation_id: int, client_id: str | None, request: Request
) -> list[Buffer]:
    """A whole frame, size first, in parts to be written in order."""
    raise AssertionError("not yet")


def encode_response(correlation_id: int, version: int, response: Response) -> list[Buffer]:
    """A whole frame, size first, in parts to be written in order."""
    raise AssertionError("not yet")


def decode_response(frame: Buffer, key: ApiKey, version: int) -> tuple[int, Response]:
    """Correlation id and response of a frame (its size prefix taken off)."""
    raise AssertionError("not yet")


class FrameReader:
    """Cuts a stream of bytes into frames, for links and tests: feed it, then take what is complete."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: Buffer) -> list[bytes]:
        """The frames that `data` completes, without size prefixes. ProtocolError for one over the limit."""
        raise AssertionError("not yet")
