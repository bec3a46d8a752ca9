"""One connection to a broker, blocking: frames as they are, or requests of our own declarations.

Owns a socket. Nothing is negotiated or retried: what is sent is what the test says.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from blumfeld.protocol.frame import encode_request, response_header_version
from blumfeld.protocol.keys import response_class
from blumfeld.protocol.primitives import read_tagged_fields
from blumfeld.protocol.schema import Request, Response


class Closed(Exception):
    """The other side closed the connection."""


class Raw:
    """A connection to `host:port`."""

    def __init__(self, address: str, timeout_s: float = 10.0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._next_id = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are. Raises Closed."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def receive(self) -> bytes:
        """The next frame, without its size. Raises Closed and TimeoutError."""
        size: int = struct.unpack(">i", self._exactly(4))[0]
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        parts, missing = [self._received[:size]], size - len(self._received)
        self._received = self._received[size:]
        while missing > 0:
            try:
                data = self._socket.recv(max(missing, 1 << 16))
            except ConnectionResetError as error:
                raise Closed from error
            if not data:
                raise Closed
            parts.append(data[:missing])
            self._received = data[missing:]
            missing -= len(data)
        return b"".join(parts)

    def ask(self, request: Request, version: int) -> Any:
        """The answer to a request. Raises Closed, TimeoutError, and ProtocolError for an answer that is none."""
        self._next_id += 1
        self.send(framed(request, version, self._next_id))
        return decoded(self.receive(), request, version, self._next_id)


def framed(request: Request, version: int, correlation_id: int, client_id: str | None = "raw") -> bytes:
    """A request's whole frame."""
    return b"".join(map(bytes, encode_request(type(request).KEY, version, correlation_id, client_id, request)))


def decoded(frame: bytes, request: Request, version: int, correlation_id: int) -> Response:
    """The response in a frame, which must be the answer to that request."""
    key = type(request).KEY
    assert struct.unpack_from(">i", frame)[0] == correlation_id, "an answer to another request"
    position = 4
    if response_header_version(key, version):
        count = frame[position]
        position = read_tagged_fields(frame, position + 1, count)[1]
    return response_class(key).decode(frame[position:], version)
