"""The ready file: machine-readable proof that produce and group join work.

Appears complete or not at all (written beside, then renamed):
`{"bootstrap_servers": "127.0.0.1:9092,…", "cluster_id": …, "brokers": [{"id": 1, "pid": 123, "host": …, "port": …}]}`
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadyBroker:
    """One broker that serves."""

    id: int
    pid: int
    host: str
    port: int

    @property
    def address(self) -> str:
        """`host:port`, as clients are told it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ready:
    """What the ready file says."""

    cluster_id: str
    brokers: tuple[ReadyBroker, ...]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.address for broker in self.brokers)

    def write(self, path: str) -> None:
        """Write to `path` so that a reader sees all of it or nothing."""
        text = {
            "bootstrap_servers": self.bootstrap_servers,
            "cluster_id": self.cluster_id,
            "brokers": [asdict(broker) for broker in self.brokers],
        }
        partial = f"{path}.part"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(text, file)
            file.write("\n")
        os.replace(partial, path)

    @staticmethod
    def withdraw(path: str) -> None:
        """Remove what an earlier run left at `path`: it proves nothing of the one that begins."""
        with suppress(FileNotFoundError):
            os.remove(path)

    @classmethod
    def read(cls, path: str) -> Ready | None:
        """What `path` says, or None while it does not exist."""
        try:
            with open(path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            return None
        return cls(found["cluster_id"], tuple(ReadyBroker(**broker) for broker in found["brokers"]))
