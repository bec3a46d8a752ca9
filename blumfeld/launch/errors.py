"""Why a node can't start, in words that say what to do."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

LISTEN_STATE = "0A"


class StartError(Exception):
    """The node can't start as it is told to. The message says why and what to do."""


def busy_port(host: str, port: int, error: OSError) -> str:
    """What to say when an address can't be bound; for a busy port, who holds it."""
    if error.errno == errno.EADDRINUSE:
        holder = _holder_of(port)
        by = f" by {holder}" if holder else ""
        where = host or "all interfaces"
        return f"port {port} on {where} is in use{by}: stop that, or choose another --port (0: any free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: change `listeners`"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights: choose one above 1023 with --port"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _holder_of(port: int) -> str | None:
    """`name (pid 123)` of the process that listens on a port, where /proc tells."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for pid in filter(str.isdigit, _entries("/proc")):
        for descriptor in _entries(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                        return f"{comm.read().strip()} (pid {pid})"
    return None


def _entries(directory: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(directory)
    return []
