"""The recording proxy passes bytes on as they are and keeps whole frames, per connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.interop.proxy import KEPT_BYTES, RecordingProxy


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_echo, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def say(port: int, *pieces: bytes) -> bytes:
    """Send pieces and read as much back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while len(answer) < sum(map(len, pieces)):
            answer += connection.recv(1 << 16)
        return answer


def wait_until(condition: Callable[[], bool]) -> None:
    """The proxy's threads keep a frame a moment after they passed it on."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_frames_are_kept_in_order_however_they_are_cut(echo: int) -> None:
    with RecordingProxy() as proxy:
        proxy.forward_to("127.0.0.1", echo)
        sent = frame(b"one") + frame(b"") + frame(b"three")
        assert say(proxy.port, sent[:5], sent[5:9], sent[9:]) == sent
        [connection] = proxy.connections
        wait_until(lambda: connection.requests == connection.responses == [b"one", b"", b"three"])


def test_each_connection_has_its_own_frames(echo: int) -> None:
    with RecordingProxy() as proxy:
        proxy.forward_to("127.0.0.1", echo)
        say(proxy.port, frame(b"first"))
        say(proxy.port, frame(b"second"))
        wait_until(lambda: [c.requests for c in proxy.connections] == [[b"first"], [b"second"]])


def test_a_large_frame_passes_without_being_kept(echo: int) -> None:
    with RecordingProxy() as proxy:
        proxy.forward_to("127.0.0.1", echo)
        large = frame(bytes(KEPT_BYTES + 1))
        assert say(proxy.port, large, frame(b"small")) == large + frame(b"small")
        wait_until(lambda: proxy.connections[0].requests == [b"small"])


def test_a_connection_is_closed_while_there_is_nowhere_to_go() -> None:
    with (
        RecordingProxy() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""
