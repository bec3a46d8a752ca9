"""A TCP proxy that keeps the frames that go through it, whole and in order, per connection.

It runs in a thread of its own, so that clients of any kind can be used beside it. What is kept is bounded: large
frames pass without being kept, and a connection keeps its first ones only.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from blumfeld.protocol.frame import FrameReader

FRAME_LIMIT = 100 << 20
KEPT_BYTES = 16 << 10
"""Of one frame: larger ones are not kept."""
KEPT_FRAMES = 10_000
"""Of one connection and direction."""


@dataclass
class Connection:
    """The frames of one connection, without their size prefixes."""

    requests: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)


class RecordingProxy:
    """`with RecordingProxy() as proxy: proxy.forward_to(host, port)`; clients connect to `proxy.port`."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[Connection] = []
        self._target: tuple[str, int] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="recording-proxy", daemon=True)
        self._listening = threading.Event()
        self._stopping = asyncio.Event()

    def forward_to(self, host: str, port: int) -> None:
        """Where new connections go. Until it is said, they are closed at once."""
        self._target = (host, port)

    def __enter__(self) -> RecordingProxy:
        self._thread.start()
        if not self._listening.wait(timeout=10):
            raise TimeoutError("the proxy does not listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._carry(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopping.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        try:
            if self._target is None:
                return
            server, to_server = await asyncio.open_connection(*self._target)
            connection = Connection()
            self.connections.append(connection)
            there = self._loop.create_task(_pump(client, to_server, _keeper(connection.requests)))
            back = self._loop.create_task(_pump(server, to_client, _keeper(connection.responses)))
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        except OSError:
            pass  # the server is gone: the client sees its connection closed
        finally:
            to_client.close()
            if to_server is not None:
                to_server.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, keep: Callable[[bytes], None]) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        keep(data)
        await sink.drain()


def _keeper(frames: list[bytes]) -> Callable[[bytes], None]:
    reader = FrameReader(FRAME_LIMIT)

    def keep(data: bytes) -> None:
        for frame in reader.feed(data):
            if len(frame) <= KEPT_BYTES and len(frames) < KEPT_FRAMES:
                frames.append(frame)

    return keep
