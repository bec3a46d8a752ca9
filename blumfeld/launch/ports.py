"""Free ports for listeners that are configured as port 0.

Taken below the range from which the system gives ports to outgoing connections: a broker that is killed finds its port
free when it comes back, because no client's connection can have got it in between.
"""

from __future__ import annotations

import random
import socket

FIRST_PORT = 12_000
LAST_PORT = 31_999
TRIES = 200


def free_port(host: str, taken: set[int] | None = None) -> int:
    """A port on `host` that can be bound now and is not in `taken`. Raises OSError where none was found."""
    chance = random.SystemRandom()
    for _ in range(TRIES):
        port = chance.randint(FIRST_PORT, LAST_PORT)
        if (taken is None or port not in taken) and _is_free(host, port):
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
