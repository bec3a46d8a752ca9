"""Three nodes, every record on three of them: start-up, throughput and latency with acks=all, failover; beside Kafka.

Both clusters are never up at once (six brokers on a small machine would measure the machine). Failover is what a
producer sees: one that has a record in flight all the time, while the partition's leader is killed with SIGKILL;
the longest time between two acknowledgements.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Producer

from bench import load
from bench.figures import Figures, ratio_at_least, ratio_at_most
from bench.first_ack import seconds_to_first_ack, wait_for_metadata
from bench.peers import peers
from bench.peers.peer import MakePeer, Peer
from blumfeld.client.cluster import ClusterClient
from blumfeld.env.environment import Env
from blumfeld.protocol.messages.metadata import MetadataResponse

NODES = 3
PARTITIONS = 6
RECORDS = 60_000
WARM_UP_RECORDS = 60_000
SIZE = 1024
LEAD_IN_S = 2.0
RECOVERED_S = 1.0
"""Acknowledgements this long after the kill come from somebody else."""
POLL_S = 0.05
GIVE_UP_S = 60.0


def measure(makers: Mapping[str, MakePeer], rounds: int, scale: float) -> Figures:
    """All figures of all peers, a fresh cluster in each round."""
    figures = Figures(list(makers))
    for number in range(rounds):
        for name, make in makers.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            with TemporaryDirectory(prefix="bench-") as directory, make(Path(directory) / "peer", NODES) as peer:
                _one_round(figures, name, peer, scale)
    return figures


def _one_round(figures: Figures, name: str, peer: Peer, scale: float) -> None:
    figures.add("three nodes: first record acknowledged by all, s", name, seconds_to_first_ack(peer, acks=-1))
    peer.wait_ready()
    servers, count = peer.bootstrap_servers, max(int(RECORDS * scale), 100)
    for topic, partitions in (("warm-up", PARTITIONS), ("load", PARTITIONS), ("latency", 1), ("failover", 1)):
        load.create_topic(servers, topic, partitions, replicas=NODES)
    load.produce(servers, "warm-up", PARTITIONS, SIZE, max(int(WARM_UP_RECORDS * scale), 100), acks="all")
    rate = load.produce(servers, "load", PARTITIONS, SIZE, count, acks="all")
    figures.add("produce 1 KiB, 6 partitions × 3 replicas, acks=all, records/s", name, rate, ratio_at_least(1.0))
    latencies = load.ack_latencies(servers, "latency", count=max(int(2000 * scale), 100), acks="all")
    figures.add("ack p50, acks=all, one in flight, ms", name, latencies.p50, ratio_at_most(1.0))
    figures.add("ack p99, acks=all, one in flight, ms", name, latencies.p99, ratio_at_most(1.0))
    figures.add("kill -9 of a leader: longest pause of a producer, s", name, failover(peer), ratio_at_most(1.0))


def failover(peer: Peer) -> float:
    """Kill the leader of `failover`-0 while somebody produces to it; seconds of the longest pause between acks."""
    acknowledged: list[float] = []
    stopping = threading.Event()

    def produce() -> None:
        producer = Producer({"bootstrap.servers": peer.bootstrap_servers, "acks": "all", **load.ONE_BY_ONE})
        while not stopping.is_set():
            failures: list[object] = []
            producer.produce("failover", b"x", partition=0, on_delivery=lambda e, _, f=failures: f.append(e))
            producer.flush(GIVE_UP_S)
            if failures == [None]:
                acknowledged.append(time.monotonic())

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        time.sleep(LEAD_IN_S)
        leader = asyncio.run(_leader(peer.bootstrap_servers))
        killed = time.monotonic()
        peer.kill(leader)
        while not acknowledged or acknowledged[-1] < killed + RECOVERED_S:
            assert time.monotonic() < killed + GIVE_UP_S, "nobody took over"
            time.sleep(POLL_S)
    finally:
        stopping.set()
        thread.join()
    return _widest(acknowledged, killed)


def _widest(instants: list[float], since: float) -> float:
    """The longest time between two of them that ends after `since`."""
    return max((b - a for a, b in itertools.pairwise(instants) if b > since), default=0.0)


async def _leader(servers: str) -> int:
    client = ClusterClient(Env.real(), servers, client_id="bench")

    def leader_of(metadata: MetadataResponse) -> int | None:
        return metadata.topics[0].partitions[0].leader_id

    try:
        return await wait_for_metadata(client, ["failover"], leader_of) or 0
    finally:
        await client.close()


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="bench cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the loads; 1.0 is the full one")
    parser.add_argument("--alone", action="store_true", help="leave Apache Kafka out")
    parser.add_argument("--range", action="store_true", help="print smallest and largest values too")
    options = parser.parse_args(arguments)
    print(measure(peers(alone=options.alone), options.rounds, options.scale).table(with_range=options.range))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
