"""One broker beside Apache Kafka: start-up, memory, latency, throughput, CPU per MiB; with data on disk.

Rounds alternate between the peers, so that both see the same machine; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load
from bench.first_ack import seconds_to_first_ack
from bench.peers.kafka import KafkaPeer, is_available
from bench.peers.ours import BlumfeldPeer
from bench.peers.processes import cpu_seconds, resident_mib

SETTLE_S = 2.0
LOADS = [(100, 1), (100, 6), (1024, 1), (1024, 6)]


def measure(peer: Any, scale: float) -> dict[str, float]:
    """One round: all figures of one peer, from a fresh directory."""
    figures: dict[str, float] = {}
    figures["first ack, s"] = seconds_to_first_ack(peer)
    peer.wait_ready()
    servers, pid = peer.bootstrap_servers, peer.pids[0]
    time.sleep(SETTLE_S)
    figures["idle RSS, MiB"] = resident_mib(pid)
    load.create_topic(servers, "latency", 1)
    latencies = load.ack_latencies(servers, "latency")
    figures["ack p50, ms"] = latencies.p50
    figures["ack p99, ms"] = latencies.p99
    for size, partitions in LOADS:
        topic = f"load-{size}-{partitions}"
        count = int((600_000 if size == 100 else 250_000) * scale)
        load.create_topic(servers, topic, partitions)
        load.produce(servers, topic, partitions, size, max(count // 10, 1000))
        before = cpu_seconds(pid)
        rate = load.produce(servers, topic, partitions, size, count)
        spent = cpu_seconds(pid) - before
        label = f"{size} B, {partitions} partition{'s' if partitions > 1 else ''}"
        figures[f"produce {label}, records/s"] = rate
        if size == 1024:
            figures[f"broker CPU, {label}, ms/MiB"] = spent * 1000 / (count * size / (1 << 20))
        figures[f"consume {label}, records/s"] = load.consume(servers, topic, partitions, count)
    figures["RSS after load, MiB"] = resident_mib(pid)
    return figures


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the loads; 1.0 is the full one")
    parser.add_argument("--alone", action="store_true", help="leave Apache Kafka out")
    options = parser.parse_args()
    peers: list[Any] = [BlumfeldPeer]
    if not options.alone and is_available():
        peers.append(KafkaPeer)
    rounds: dict[str, list[dict[str, float]]] = {}
    for number in range(options.rounds):
        for kind in peers:
            with tempfile.TemporaryDirectory(prefix="bench-") as directory, kind(Path(directory) / "peer") as peer:
                rounds.setdefault(kind.name, []).append(measure(peer, options.scale))
            print(f"round {number + 1}: {kind.name} done", file=sys.stderr)
    show(rounds)


def show(rounds: dict[str, list[dict[str, float]]]) -> None:
    """The table: medians of each peer, and the ratio of the first to the second."""
    names = list(rounds)
    medians = {
        name: {label: statistics.median(r[label] for r in results) for label in results[0]}
        for name, results in rounds.items()
    }
    print(f"| figure (median of {len(rounds[names[0]])}) | {' | '.join(names)} | ratio |")
    print(f"|---|{'---:|' * (len(names) + 1)}")
    for label in medians[names[0]]:
        values = [medians[name][label] for name in names]
        ratio = f"{values[0] / values[1]:.2f}" if len(values) > 1 and values[1] else ""
        print(f"| {label} | {' | '.join(_number(v) for v in values)} | {ratio} |")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
