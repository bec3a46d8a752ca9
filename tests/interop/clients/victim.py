"""A group member in a process of its own, to be killed.

`python -m tests.interop.clients.victim CLIENT SERVERS GROUP TOPIC SESSION_TIMEOUT_MS`
"""

from __future__ import annotations

import sys
import time

from tests.interop.clients.all import CLIENTS


def main() -> None:
    name, servers, group, topic, session_timeout_ms = sys.argv[1:]
    client = next(kind for kind in CLIENTS if kind.name == name)(servers)
    member = client.join(group, topic, session_timeout_ms=int(session_timeout_ms))
    while True:
        if member.assignment():
            print("assigned", flush=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
