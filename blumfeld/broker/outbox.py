"""Replies of one connection on their way to the socket.

Owns what is to be written and when: at once, or, while the socket has more requests to read, together with the replies
to those. A client that keeps requests in flight sends its next ones while we answer; a system call and a wake-up of the
client for each reply would then cost more than most requests do.

Invariants: bytes leave in the order in which they were put; nothing is kept beyond one turn of the event loop, nor
beyond `TOGETHER_BYTES`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.protocol.primitives import Buffer

TOGETHER_BYTES = 64 << 10


class Outbox:
    """What is put here is written at the next `flush`, or in this turn of the loop's end after `flush_soon`."""

    __slots__ = ("_bytes", "_is_scheduled", "_parts", "_transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._parts: list[Buffer] = []
        self._bytes = 0
        self._is_scheduled = False

    def put(self, parts: list[Buffer]) -> None:
        """Add one reply. May write at once: the transport may then call `pause_writing`."""
        self._parts += parts
        for part in parts:
            self._bytes += len(part)
        if self._bytes >= TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        self._is_scheduled = False
        if self._parts:
            parts, self._parts = self._parts, []
            self._bytes = 0
            if not self._transport.is_closing():
                self._transport.writelines(parts)

    def flush_soon(self) -> None:
        """Write what there is when the loop has read what has arrived."""
        if self._parts and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def clear(self) -> None:
        """Nothing will be written any more: forget what there is."""
        self._parts = []
        self._bytes = 0
