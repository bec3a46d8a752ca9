"""Free ports for listeners that are configured as port 0.

Taken below the range from which the system gives ports to outgoing connections: a broker that is killed finds its port
free when it comes back, because no client's connection can have got it in between. Nor does another process that picks
ports (test runs have several) get it before it is bound, or while its broker is down: on Linux, what a process picked
last is claimed by a name in the abstract socket namespace, which the system gives to one process and takes back when
that ends.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
from collections import deque

FIRST_PORT = 12_000
LAST_PORT = 31_999
TRIES = 200
MAX_CLAIMS = 64

_claims: deque[int] = deque()
"""Descriptors of what this process claims, the oldest first."""


def free_port(host: str, taken: set[int] | None = None) -> int:
    """A port on `host` that can be bound now, is not in `taken`, and that nobody picked lately.

    Raises OSError where none was found.
    """
    chance = random.SystemRandom()
    for _ in range(TRIES):
        port = chance.randint(FIRST_PORT, LAST_PORT)
        if (taken is None or port not in taken) and _is_free(host, port) and _claim(port):
            return port
    raise OSError(f"no free port on {host} between {FIRST_PORT} and {LAST_PORT}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Whether the port is ours from now on, until this process ends or has picked `MAX_CLAIMS` others."""
    if sys.platform != "linux":
        return True
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            claim.bind(f"\0blumfeld-port-{port}")
            _claims.append(claim.detach())
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # anything else: there are no such names here
    if len(_claims) > MAX_CLAIMS:
        os.close(_claims.popleft())
    return True
