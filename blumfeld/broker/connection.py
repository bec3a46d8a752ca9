"""One client connection: frames in, replies out, in order.

Owns the receive state of one socket, the queue of requests that arrived and the queue of replies that are due. Knows
nothing of what a request means: `Dispatcher.start` says that.

Invariants:
- Replies leave in the order of their requests.
- A request starts only when those before it have been answered; produce requests alone may start while earlier
  produce requests still wait for replication. (Apache Kafka handles one request of a connection at a time.)
- A frame over the limit closes the connection before its body is read; memory for a frame grows with the bytes that
  have arrived, never with the length that was claimed.
- While replies are not taken by the peer, or more than a few requests wait for their turn, nothing more is read. (A few
  may: only by reading do we notice that a peer has gone.)
- A frame that needs a buffer of its own is read on only when the budget of requests has room for it, if there is one.

Small frames are cut from a receive buffer that all connections of a listener share; a frame that did not arrive
whole is received straight into a buffer of its own, from which its records go to the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

from blumfeld.broker.dispatch import Started
from blumfeld.broker.outbox import Outbox
from blumfeld.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from blumfeld.broker.dispatch import Peer
    from blumfeld.broker.listener import Listener

_log = logging.getLogger(__name__)

SIZE_BYTES = 4
SMALLEST_FRAME_BYTES = 8  # api key, api version, correlation id
FIRST_ALLOCATION_BYTES = 1 << 20
MAX_QUEUED_REQUESTS = 100
MAX_QUEUED_BYTES = 64 << 10


class Connection(asyncio.BufferedProtocol):
    """The asyncio protocol of one accepted socket."""

    __slots__ = (
        "_arrived",
        "_charged",
        "_expected",
        "_filled",
        "_frame",
        "_funded",
        "_listener",
        "_outbox",
        "_partial",
        "_peer",
        "_reading",
        "_replies",
        "_transport",
        "_writable",
        "closing",
        "last_activity",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._peer: Peer
        self._outbox: Outbox
        self._frame: bytearray | None = None  # the frame being received into its own buffer
        self._filled = 0
        self._expected = 0
        self._partial = b""  # up to three bytes of a size prefix
        self._arrived: deque[bytearray] = deque()
        self._replies: deque[Started] = deque()
        self._writable = True
        self._reading = True
        self._funded = True  # the frame being received, if any, has room in the budget
        self._charged = 0  # bytes that count against the budget for this connection
        self.last_activity = 0.0
        self.closing = False

    # --- the socket's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport = accepted
        self._outbox = Outbox(accepted)
        peer = self._listener.admit(self, accepted)
        if peer is None:
            self.close()
            return
        self._peer = peer
        self.last_activity = self._listener.monotonic()

    def get_buffer(self, sizehint: int) -> memoryview:
        frame = self._frame
        if frame is None:
            return self._listener.receive_view
        if self._filled == len(frame):
            frame.extend(bytes(min(len(frame), self._expected - len(frame))))
        return memoryview(frame)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.last_activity = self._listener.monotonic()
        frame = self._frame
        if frame is None:
            received = self._listener.receive_view
            has_more = nbytes == len(received)
            self._cut(received[:nbytes])
        else:
            self._filled += nbytes
            if self._filled < self._expected:
                return
            has_more = True
            self._frame = None
            self._arrived.append(frame)
        self._advance(has_more=has_more)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._listener.forget(self)
        self._release_all()
        self._arrived.clear()
        replies, self._replies = self._replies, deque()
        for started in replies:
            started.abandon()
        self._frame = None
        if self._transport is not None:
            self._outbox.clear()
            self._transport = None

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.last_activity = self._listener.monotonic()
        self._advance()

    # --- what the listener asks --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close once the replies that are due are written."""
        self.closing = True
        if self._transport is not None:
            self._outbox.flush()
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is still unwritten."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_waiting(self) -> bool:
        """A reply is still owed, or we are not reading what the peer wants to send; not where we are closing."""
        return not self.closing and bool(self._replies or self._arrived or not self._funded)

    @property
    def peer(self) -> Peer | None:
        return getattr(self, "_peer", None)

    def is_idle_since(self, instant: float) -> bool:
        """Nothing came since, and we owe nothing; or we do not even read, and could not know whether it is gone.

        One that is closing is idle, too, where the peer does not take what it has to be told before."""
        return self.last_activity < instant and not (self.is_waiting and self._reading)

    def serve(self) -> None:
        """The listener holds requests no longer."""
        self._advance()

    # --- frames ------------------------------------------------------------------------------------------------

    def _cut(self, received: memoryview) -> None:
        """Cut whole frames; start a buffer of its own for one that is not complete."""
        if self._partial:
            received = memoryview(self._partial + bytes(received))
            self._partial = b""
        position, end = 0, len(received)
        while end - position >= SIZE_BYTES:
            size = int.from_bytes(received[position : position + SIZE_BYTES], "big", signed=True)
            if not SMALLEST_FRAME_BYTES <= size <= self._listener.max_frame_bytes:
                self._refuse_frame(size)
                return
            position += SIZE_BYTES
            if end - position < size:
                self._begin_own_buffer(size, received[position:end])
                return
            self._arrived.append(bytearray(received[position : position + size]))
            if self._listener.budget is not None:
                self._listener.budget.add(size)
                self._charged += size
            position += size
        self._partial = bytes(received[position:end])

    def _begin_own_buffer(self, size: int, first: memoryview) -> None:
        frame = bytearray(min(size, FIRST_ALLOCATION_BYTES))
        frame[: len(first)] = first
        self._frame = frame
        self._filled = len(first)
        self._expected = size
        budget = self._listener.budget
        if budget is not None:
            self._funded = budget.take(self, size)
            if self._funded:
                self._charged += size

    def _refuse_frame(self, size: int) -> None:
        self._listener.complaints.add(
            "frame size",
            "closing connection from %s: a request of %d bytes is outside %d..%d (socket.request.max.bytes)",
            self._peer.host,
            size,
            SMALLEST_FRAME_BYTES,
            self._listener.max_frame_bytes,
        )
        self.close()

    # --- the budget of requests, where there is one -------------------------------------------------------------

    def funded(self) -> None:
        """The frame that is to be received has room now."""
        self._charged += self._expected
        self._funded = True
        self._read_on()

    def _release(self, size: int) -> None:
        budget = self._listener.budget
        if budget is not None:
            self._charged -= size
            budget.give_back(size)

    def _release_all(self) -> None:
        budget = self._listener.budget
        if budget is not None:
            budget.leave(self)
            self._release(self._charged)

    # --- requests and replies ----------------------------------------------------------------------------------

    def _advance(self, *, has_more: bool = False) -> None:
        """Start requests while their turn has come, write replies while they are due, then read on or not.

        `has_more`: the socket filled the buffer that it was given, so probably there is more to read: then replies wait
        for those to it, to be written together.
        """
        while self._arrived and self._writable and not self.closing and self._may_start():
            frame = self._arrived.popleft()
            self._start(frame)
            if self._charged:
                self._release(len(frame))
            if self._replies and self._replies[0].is_done:
                self._take_due()
        if has_more:
            self._outbox.flush_soon()
        else:
            self._outbox.flush()
        self._read_on()

    def _may_start(self) -> bool:
        waiting = self._replies
        if not waiting:
            return not self._listener.is_holding
        return (
            len(waiting) < self._listener.max_pipelined
            and waiting[-1].lets_others_start
            and self._listener.dispatcher.may_overtake(self._arrived[0])
        )

    def _start(self, frame: bytearray) -> None:
        try:
            started = self._listener.dispatcher.start(self._peer, frame)
        except ProtocolError as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001  a defect of ours: this connection ends, the others go on
            self._fail()
            return
        if started is None:
            return
        self._replies.append(started)
        if not started.is_done:
            started.when_done(self._completed)

    def _completed(self) -> None:
        if self.closing:
            return
        self._take_due()
        self._advance()

    def _take_due(self) -> None:
        replies = self._replies
        while replies and replies[0].is_done and not self.closing:
            try:
                self._outbox.put(replies.popleft().take())
            except ProtocolError as error:
                self._refuse(error)
            except Exception:  # noqa: BLE001  as above
                self._fail()

    def _refuse(self, error: ProtocolError) -> None:
        self._listener.complaints.add(
            "bad request", "closing connection from %s: %s", self._peer.host, str(error)[:300]
        )
        self.close()

    def _fail(self) -> None:
        self._listener.complaints.add(
            "failed request", "closing connection from %s: request failed", self._peer.host, exc_info=True
        )
        self.close()

    def _may_queue_more(self) -> bool:
        arrived = self._arrived
        return len(arrived) < MAX_QUEUED_REQUESTS and sum(map(len, arrived)) < MAX_QUEUED_BYTES

    def _read_on(self) -> None:
        transport = self._transport
        if transport is None or self.closing:
            return
        wanted = self._writable and self._funded and (not self._arrived or self._may_queue_more())
        if wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()
