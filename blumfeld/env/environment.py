"""The environment: one clock, one source of chance, one disk, one network, handed down from `launch/`.

Owns nothing itself. Whoever is given an `Env` reaches the world through it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from blumfeld.env.clock import Clock, SystemClock
from blumfeld.env.disk import Disk, RealDisk
from blumfeld.env.entropy import Entropy, SystemEntropy
from blumfeld.env.net import Network, RealNetwork


@dataclass(frozen=True, slots=True)
class Env:
    """The doors to the world."""

    clock: Clock
    entropy: Entropy
    disk: Disk
    network: Network

    @staticmethod
    def real() -> Env:
        """The machine's clock, entropy, file system and network."""
        return Env(SystemClock(), SystemEntropy(), RealDisk(), RealNetwork())

    @staticmethod
    def in_memory(max_bytes: int | None = None) -> Env:
        """As `real`, but nothing touches a file system: data are gone with the process."""
        from blumfeld.env.memory_disk import MemoryDisk

        return Env(SystemClock(), SystemEntropy(), MemoryDisk(max_bytes=max_bytes), RealNetwork())
