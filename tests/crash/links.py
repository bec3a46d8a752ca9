"""The network between brokers: a process of TCP proxies that can stop the bytes from one node to another.

    python -m tests.crash.links

Owns one proxy for each listener by which nodes reach each other. Takes commands on standard input, one JSON object a
line, and answers each with a line:

    {"do": "route", "node": 1, "listen": 1234, "to": 5678}   a listener of node 1; answered when it listens
    {"do": "close", "node": 1}     nobody listens any more, as after a crash; connections are left to their ends
    {"do": "open", "node": 1}      listen again
    {"do": "cut", "from": 1, "to": 2}                    bytes in that direction wait, on old and new connections
    {"do": "heal", "reset": false}                       everything flows again; or all connections are reset

Who called is told by the client id in the first request (`raft-1`, `broker-1`, `broker-1-fetcher`). A cut is silent, as
a broken cable: connections stay, and what was sent arrives when it is healed. The end of a connection waits as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

HOST = "127.0.0.1"
CHUNK = 1 << 16
CLIENT_ID_AT = 12
_NODE = re.compile(rb"(?:raft|broker)-(\d+)")


class Network:
    """All proxies."""

    def __init__(self) -> None:
        self.routes: dict[int, dict[int, int]] = {}
        self._servers: dict[int, list[asyncio.Server]] = {}
        self._cuts: set[tuple[int, int]] = set()
        self._healed = asyncio.Event()
        self._healed.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def command(self, command: dict[str, Any]) -> None:
        """Carry one out."""
        match command["do"]:
            case "route":
                self.routes.setdefault(command["node"], {})[command["listen"]] = command["to"]
                await self._listen(command["node"], [command["listen"]])
            case "open":
                await self._listen(command["node"], self.routes[command["node"]])
            case "close":
                for server in self._servers.pop(command["node"], []):
                    server.close()
            case "cut":
                self._cuts.add((command["from"], command["to"]))
                self._healed.clear()
            case "heal":
                self._cuts.clear()
                self._healed.set()
                if command["reset"]:
                    for writer in list(self._writers):
                        writer.transport.abort()
            case unknown:
                raise ValueError(f"no such command: {unknown}")

    async def _listen(self, node: int, ports: Iterable[int]) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = writer.get_extra_info("sockname")[1]
            task = asyncio.get_running_loop().create_task(self._carry(node, port, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        standing = self._servers.setdefault(node, [])
        known = {server.sockets[0].getsockname()[1] for server in standing}
        for port in ports:
            if port not in known:
                standing.append(await asyncio.start_server(accept, HOST, port, reuse_address=True))

    async def _carry(self, node: int, port: int, caller: asyncio.StreamReader, to_caller: asyncio.StreamWriter) -> None:
        to_node = None
        try:
            from_node, to_node = await asyncio.open_connection(HOST, self.routes[node][port])
            self._writers |= {to_caller, to_node}
            first = await caller.read(CHUNK)
            source = _caller(first)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(source, node, caller, to_node, first))
                both.create_task(self._pump(node, source, from_node, to_caller))
        except* OSError:
            pass  # one side is gone: so is the connection
        finally:
            for writer in (to_caller, to_node):
                if writer is not None:
                    self._writers.discard(writer)
                    writer.close()  # what was read is still delivered

    async def _pump(
        self, source: int, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
    ) -> None:
        data = first
        while True:
            while (source, target) in self._cuts:
                await self._healed.wait()
            if data:
                writer.write(data)
                await writer.drain()
            data = await reader.read(CHUNK)
            if not data:
                while (source, target) in self._cuts:
                    await self._healed.wait()
                raise ConnectionResetError("the other side has ended")


def _caller(first: bytes) -> int:
    """The node that sent this first request; 0 for anybody else."""
    found = _NODE.match(first, CLIENT_ID_AT + 2)
    return int(found[1]) if found else 0


async def main() -> None:
    """Serve commands until standard input ends."""
    loop = asyncio.get_running_loop()
    network = Network()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        await network.command(json.loads(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())
