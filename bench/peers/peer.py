"""What every peer of a benchmark can do: the one face behind which brokers are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias


class Peer(Protocol):
    """One cluster of broker processes with data directories. Entering starts nothing; leaving kills what runs."""

    name: str

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated host:port of every node."""
        ...

    @property
    def pids(self) -> list[int]:
        """The process ids of the nodes that run, in order of node ids from 1 on."""
        ...

    def start(self, node: int | None = None) -> None:
        """Start one node, or all; returns at once."""
        ...

    def wait_ready(self) -> None:
        """Return when every node serves."""
        ...

    def kill(self, node: int) -> None:
        """kill -9 of one node."""
        ...

    def stop(self, node: int | None = None) -> None:
        """Stop one node cleanly, or all; they can be started again."""
        ...

    def __enter__(self) -> Peer: ...

    def __exit__(self, *exc: object) -> None: ...


MakePeer: TypeAlias = Callable[[Path, int], Peer]
"""From a directory that does not exist yet and a number of nodes."""
