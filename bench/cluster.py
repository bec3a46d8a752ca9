"""Three nodes, every record on three of them: start-up, latency and throughput with acks=all, memory; failover.

Both clusters are never up at once (six brokers on a small machine would measure the machine). Failover comes last, on
one cluster of each peer; `failover.py` says what is done there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import failover, load
from bench.figures import Figures, Value, at_most, ratio_at_least, ratio_at_most
from bench.first_ack import seconds_to_first_ack
from bench.machine import Machine
from bench.options import add_common
from bench.peers import OURS, peers
from bench.peers.peer import MakePeer, Peer
from bench.peers.processes import resident_mib

NODES = 3
PARTITIONS = 6
RECORDS = 60_000
WARM_UP_RECORDS = 60_000
SIZE = 1024


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int = 3
    scale: float = 1.0
    kills: int = 10
    """Rounds of each failover scenario, of our nodes."""
    other_kills: int = 2
    """The same of others, which take ten times as long."""


def measure(makers: Mapping[str, MakePeer], effort: Effort, machine: Machine) -> Figures:
    """All figures of all peers, a fresh cluster in each round."""
    figures = Figures(list(makers))
    for number in range(effort.rounds):
        for name, make in makers.items():
            _progress(f"{name}: round {number + 1} of {effort.rounds}")
            figures.add_all(name, machine.undisturbed(partial(_one_round, make, effort.scale)))
    for name, make in makers.items():
        kills = effort.kills if name == OURS else effort.other_kills
        if kills:
            _progress(f"{name}: failover")
            with _nodes(make) as peer:
                peer.start()
                peer.wait_ready()
                failover.measure(figures, name, peer, kills)
    return figures


@contextmanager
def _nodes(make: MakePeer) -> Iterator[Peer]:
    with TemporaryDirectory(prefix="bench-") as directory, make(Path(directory) / "peer", NODES) as peer:
        yield peer


def _one_round(make: MakePeer, scale: float) -> list[Value]:
    with _nodes(make) as peer:
        started = seconds_to_first_ack(peer, acks=-1)
        peer.wait_ready()
        servers, count = peer.bootstrap_servers, max(int(RECORDS * scale), 100)
        for topic, partitions in (("warm-up", PARTITIONS), ("load", PARTITIONS), ("latency", 1)):
            load.create_topic(servers, topic, partitions, replicas=NODES)
        load.produce(servers, "warm-up", PARTITIONS, SIZE, max(int(WARM_UP_RECORDS * scale), 100), acks="all")
        rate = load.produce(servers, "load", PARTITIONS, SIZE, count, acks="all")
        latencies = load.ack_latencies(servers, "latency", count=max(int(2000 * scale), 100), acks="all")
        return [
            Value("cold start to a first record on three nodes, s", started, at_most(1.2)),
            Value("produce 1 KiB, 6 partitions × 3 replicas, acks=all, records/s", rate, ratio_at_least(2.0)),
            Value("ack p50, acks=all, one in flight, ms", latencies.p50, ratio_at_most(0.8)),
            Value("ack p99, acks=all, one in flight, ms", latencies.p99, ratio_at_most(1.0)),
            Value("RSS of a node after load, MiB", max(map(resident_mib, peer.pids)), at_most(90)),
        ]


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    usual = Effort()
    parser = argparse.ArgumentParser(prog="bench cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--scale", type=float, default=usual.scale, help="size of the loads; 1.0 is the full one")
    parser.add_argument("--kills", type=int, default=usual.kills, help="rounds of each failover of ours; 0: none")
    parser.add_argument("--other-kills", type=int, default=usual.other_kills, help="the same of Apache Kafka")
    add_common(parser)
    options = parser.parse_args(arguments)
    effort = Effort(options.rounds, options.scale, options.kills, options.other_kills)
    machine = Machine(options.patience)
    figures = measure(peers(alone=options.alone), effort, machine)
    print(figures.report(with_range=options.range), machine, sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
