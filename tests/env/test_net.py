"""The network: bytes go both ways, a refusal is not a silence."""

from __future__ import annotations

import asyncio
import socket

import pytest

from blumfeld.env.environment import Env
from blumfeld.env.net import RealNetwork


class Recorder(asyncio.Protocol):
    """Remembers what happened to one connection."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.received = b""
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        assert self.transport is not None
        if self.answer:
            self.transport.write(self.answer)
        if not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def test_bytes_go_both_ways_at_the_port_that_was_found() -> None:
    network = RealNetwork()
    served: list[Recorder] = []

    def serve() -> Recorder:
        served.append(Recorder(b"pong"))
        return served[-1]

    listener = await network.listen("127.0.0.1", 0, serve)
    assert listener.port > 0
    transport, client = await network.connect("127.0.0.1", listener.port, Recorder, timeout=5)
    transport.write(b"ping")
    await asyncio.wait_for(client.answered, 5)
    assert (client.received, served[0].received) == (b"pong", b"ping")
    await listener.close()
    transport.write(b"after closing the listener")
    transport.close()
    await asyncio.wait_for(asyncio.gather(client.lost, served[0].lost), 5)
    assert served[0].received == b"ping" + b"after closing the listener"


async def test_a_closed_listener_refuses_and_its_port_can_be_had_again() -> None:
    network = RealNetwork()
    listener = await network.listen("127.0.0.1", 0, Recorder)
    await listener.close()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("127.0.0.1", listener.port, Recorder, timeout=5)
    again = await network.listen("127.0.0.1", listener.port, Recorder)
    assert again.port == listener.port
    with pytest.raises(OSError, match="in use"):
        await network.listen("127.0.0.1", listener.port, Recorder)
    await again.close()


async def test_a_refusal_by_every_address_of_a_name_is_a_refusal() -> None:
    network = RealNetwork()
    listener = await network.listen("127.0.0.1", 0, Recorder)
    await listener.close()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("localhost", listener.port, Recorder, timeout=5)


async def test_a_silent_peer_is_a_timeout() -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    try:
        for _ in range(4):  # until the backlog takes no more, further connections hang
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            await RealNetwork().connect("127.0.0.1", full.getsockname()[1], Recorder, timeout=0.05)
    finally:
        for filler in fillers:
            filler.close()
        full.close()


async def test_a_name_is_resolved_to_its_addresses() -> None:
    network = RealNetwork()
    assert "127.0.0.1" in await network.resolve("localhost")
    assert await network.resolve("::1") == {"::1"}
    with pytest.raises(OSError):
        await network.resolve("no-such-host.invalid")


async def test_an_empty_host_is_every_interface() -> None:
    network = RealNetwork()
    listener = await network.listen("", 0, Recorder)
    transport, client = await network.connect("127.0.0.1", listener.port, Recorder, timeout=5)
    transport.close()
    await asyncio.wait_for(client.lost, 5)
    await listener.close()


def test_the_real_environment_and_the_one_in_memory() -> None:
    assert Env.real().clock.time_ms() > 0
    memory = Env.in_memory(max_bytes=10)
    assert memory.disk.free_bytes("") == 10
    assert memory.entropy.uuid() != memory.entropy.uuid()
