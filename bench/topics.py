"""A thousand topics: created by one request, led, idle, and there again after a restart; beside Apache Kafka.

Everything is asked over the project's own link, the same for both peers. `led` means that one metadata answer names a
leader for every partition. A restart ends with that answer and an acknowledged record; after a clean stop, and after
kill -9. In memory, the room that indexes reserve (20 MiB a partition) must not be taken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from bench.figures import Figures, Value, at_most, ratio_at_most
from bench.first_ack import seconds_to_first_ack, wait_for_listener, wait_for_metadata
from bench.machine import Machine
from bench.options import add_common
from bench.peers import OURS, peers
from bench.peers.ours import BlumfeldPeer
from bench.peers.peer import MakePeer, Peer
from bench.peers.processes import cpu_percent, resident_mib
from blumfeld.client.cluster import ClusterClient
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.metadata import MetadataResponse

SETTLE_S = 5.0
TIMEOUT_S = 60.0


def measure(makers: Mapping[str, MakePeer], topics: int, rounds: int, watch_s: float, machine: Machine) -> Figures:
    """All figures of all peers, a fresh cluster in each round.

    No data directory goes before the end: ext4 searches long for an inode where many were deleted in the last minute.
    """
    figures = Figures(list(makers))
    with TemporaryDirectory(prefix="bench-") as root:
        for number in range(rounds):
            for name, make in makers.items():
                print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                figures.add_all(name, machine.undisturbed(partial(_one_round, make, root, topics, watch_s)))
            with BlumfeldPeer(Path(mkdtemp(dir=root)) / "peer", in_memory=True) as peer:
                figures.add("RSS per topic in memory, KiB", OURS, _kib_per_topic(peer, topics), at_most(32))
    return figures


def _one_round(make: MakePeer, root: str, topics: int, watch_s: float) -> list[Value]:
    with make(Path(mkdtemp(dir=root)) / "peer", 1) as peer:
        seconds_to_first_ack(peer)
        peer.wait_ready()
        time.sleep(SETTLE_S)
        before = resident_mib(peer.pids[0])
        answered, led = asyncio.run(create(peer.bootstrap_servers, topics))
        grown = resident_mib(peer.pids[0]) - before
        time.sleep(SETTLE_S)
        idle, resident = cpu_percent(peer.pids[0], watch_s), resident_mib(peer.pids[0])
        peer.stop()
        restarted = _restart(peer, topics)
        peer.kill(1)
        return [
            Value(f"{topics:,} topics in one CreateTopics: answered, s", answered),
            Value(f"{topics:,} topics in one CreateTopics: led, s", led, ratio_at_most(1.0)),
            Value("RSS per topic, KiB", grown * 1024 / topics),
            Value(f"idle CPU with {topics:,} topics, %", idle, at_most(1.0)),
            Value(f"idle RSS with {topics:,} topics, MiB", resident),
            Value("restart to serving all of them, s", restarted, at_most(1.5)),
            Value("restart to serving after kill -9, s", _restart(peer, topics), at_most(1.5)),
        ]


def _kib_per_topic(peer: Peer, topics: int) -> float:
    seconds_to_first_ack(peer)
    before = resident_mib(peer.pids[0])
    asyncio.run(create(peer.bootstrap_servers, topics))
    return (resident_mib(peer.pids[0]) - before) * 1024 / topics


def _restart(peer: Peer, topics: int) -> float:
    started = time.perf_counter()
    seconds_to_first_ack(peer, topic=_name(topics - 1))
    asyncio.run(_all_led(peer.bootstrap_servers, topics))
    return time.perf_counter() - started


def _name(number: int) -> str:
    return f"topic-{number:05}"


async def create(servers: str, topics: int) -> tuple[float, float]:
    """Create them all by one request; seconds until it is answered, and until every one is led."""
    wait_for_listener(servers)
    client = ClusterClient(Env.real(), servers, client_id="bench", timeout_s=TIMEOUT_S)
    try:
        controller = (await client.metadata([])).controller_id
        wanted = [
            CreateTopicsRequest.Topic(name=_name(n), num_partitions=1, replication_factor=1, assignments=[], configs=[])
            for n in range(topics)
        ]
        request = CreateTopicsRequest(topics=wanted, timeout_ms=int(TIMEOUT_S * 1000))
        started = time.perf_counter()
        response = await client.broker(controller, request, timeout_ms=TIMEOUT_S * 1000)
        answered = time.perf_counter() - started
        assert not any(topic.error_code for topic in response.topics)
        await _wait_until_led(client, topics)
        return answered, time.perf_counter() - started
    finally:
        await client.close()


async def _all_led(servers: str, topics: int) -> None:
    client = ClusterClient(Env.real(), servers, client_id="bench", timeout_s=TIMEOUT_S)
    try:
        await _wait_until_led(client, topics)
    finally:
        await client.close()


async def _wait_until_led(client: ClusterClient, topics: int) -> None:
    def are_led(metadata: MetadataResponse) -> bool:
        return len(metadata.topics) == topics and all(
            topic.error_code == ErrorCode.NONE
            and len(topic.partitions) == 1
            and topic.partitions[0].error_code == ErrorCode.NONE
            and topic.partitions[0].leader_id >= 0
            for topic in metadata.topics
        )

    await wait_for_metadata(client, [_name(n) for n in range(topics)], are_led)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="bench topics", description=__doc__)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watch", type=float, default=10.0, metavar="SECONDS", help="how long idle CPU is watched")
    add_common(parser)
    options = parser.parse_args(arguments)
    machine = Machine(options.patience)
    figures = measure(peers(alone=options.alone), options.topics, options.rounds, options.watch, machine)
    print(figures.report(with_range=options.range), machine, sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
