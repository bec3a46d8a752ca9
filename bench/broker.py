"""One broker beside Apache Kafka: start-up, memory, latency, throughput, CPU per MiB; with data on disk.

Starts come first, each from a fresh directory, one peer at a time. Then both peers run, are warmed up (a JVM
compiles what it has run often), and take turns at each load, so that both see the same machine: what shakes it, shakes
both. Medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.figures import Figures, Goal, at_most, ratio_at_least, ratio_at_most
from bench.first_ack import seconds_to_first_ack
from bench.imports import import_seconds
from bench.peers import OURS, peers
from bench.peers.peer import MakePeer, Peer
from bench.peers.processes import cpu_percent, cpu_seconds, peak_resident_mib, resident_mib

SETTLE_S = 2.0
PAUSE_S = 0.5
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """Records of one size to a topic of so many partitions."""

    size: int
    partitions: int
    count: int
    produce_goal: Goal

    def __str__(self) -> str:
        size = "1 KiB" if self.size == 1024 else f"{self.size} B"
        return f"{size}, {self.partitions} partition{'s' if self.partitions > 1 else ''}"


LOADS = (
    Load(100, 1, 1_000_000, ratio_at_least(1.0)),
    Load(100, 6, 1_000_000, ratio_at_least(1.0)),
    Load(1024, 1, 300_000, ratio_at_least(0.7)),
    Load(1024, 6, 300_000, ratio_at_least(1.2)),
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    starts: int = 5
    repeats: int = 5
    scale: float = 1.0
    warm_up_s: float = 15.0


def measure(makers: Mapping[str, MakePeer], effort: Effort) -> Figures:
    """All figures of all peers."""
    figures = Figures(list(makers))
    with TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        measure_starts(makers, figures, effort.starts, home)
        with ExitStack() as stack:
            running = {name: stack.enter_context(make(home / name, 1)) for name, make in makers.items()}
            for name, peer in running.items():
                _progress(f"{name}: warming up")
                peer.start()
                peer.wait_ready()
                warm_up(peer, effort)
            for repeat in range(effort.repeats):
                _progress(f"loads, {repeat + 1} of {effort.repeats}")
                for name, peer in _in_turn(running, repeat):
                    _latencies(figures, name, peer, effort.scale)
                for each in LOADS:
                    for name, peer in _in_turn(running, repeat):
                        _one_load(figures, name, peer, each, repeat, effort.scale)
            for name, peer in running.items():
                figures.add("RSS under load, peak, MiB", name, peak_resident_mib(peer.pids[0]), at_most(120))
    return figures


def measure_starts(makers: Mapping[str, MakePeer], figures: Figures, starts: int, home: Path) -> None:
    """Start-up and what an idle broker needs. A first start of each is not counted: it may have files to read from the
    device, and modules to compile."""
    for name, make in makers.items():
        with make(home / f"{name}-first", 1) as peer:
            seconds_to_first_ack(peer)
    for number in range(starts):
        _progress(f"starts, {number + 1} of {starts}")
        for name, make in makers.items():
            with make(home / f"{name}-start-{number}", 1) as peer:
                figures.add("first ack after process start, s", name, seconds_to_first_ack(peer), at_most(0.40))
                figures.add("CPU until the first ack, s", name, cpu_seconds(peer.pids[0]))
                peer.wait_ready()
                time.sleep(SETTLE_S)
                figures.add("idle RSS, MiB", name, resident_mib(peer.pids[0]), at_most(45))
                figures.add("idle CPU, %", name, cpu_percent(peer.pids[0], SETTLE_S))
    for seconds in import_seconds(home / "imports", starts):
        figures.add("imports of a serving broker, s of CPU", OURS, seconds, at_most(0.20))


def warm_up(peer: Peer, effort: Effort) -> None:
    """All loads, again and again, for a while; at least once each."""
    servers = peer.bootstrap_servers
    load.create_topic(servers, "latency", 1)
    load.ack_latencies(servers, "latency", count=max(int(3000 * effort.scale), 100))
    ends, number = time.monotonic() + effort.warm_up_s, 0
    while not number or time.monotonic() < ends:
        for each in LOADS:
            topic, count = f"warm-up-{number}", max(int(each.count * effort.scale), 100)
            number += 1
            load.create_topic(servers, topic, each.partitions)
            load.produce(servers, topic, each.partitions, each.size, count)
            load.consume(servers, topic, each.partitions, count)
            load.delete_topic(servers, topic)


def _in_turn(running: Mapping[str, Peer], repeat: int) -> Iterator[tuple[str, Peer]]:
    """Each peer once, with a pause before it; who is first, changes."""
    names = list(running)
    for name in names if repeat % 2 == 0 else reversed(names):
        time.sleep(PAUSE_S)
        yield name, running[name]


def _latencies(figures: Figures, name: str, peer: Peer, scale: float) -> None:
    latencies = load.ack_latencies(peer.bootstrap_servers, "latency", count=max(int(3000 * scale), 100))
    figures.add("ack p50, one in flight, ms", name, latencies.p50, ratio_at_most(0.8))
    figures.add("ack p99, one in flight, ms", name, latencies.p99, ratio_at_most(1.0))


def _one_load(figures: Figures, name: str, peer: Peer, each: Load, repeat: int, scale: float) -> None:
    servers, pid, count = peer.bootstrap_servers, peer.pids[0], max(int(each.count * scale), 100)
    topic = f"{each.size}-{each.partitions}-{repeat}"
    load.create_topic(servers, topic, each.partitions)
    mib = count * each.size / MIB
    before = cpu_seconds(pid)
    produced = load.produce(servers, topic, each.partitions, each.size, count)
    between = cpu_seconds(pid)
    consumed = load.consume(servers, topic, each.partitions, count)
    after = cpu_seconds(pid)
    figures.add(f"produce {each}, records/s", name, produced, each.produce_goal)
    figures.add(f"consume {each}, records/s", name, consumed, ratio_at_least(1.0))
    if each.size == 1024:
        figures.add(f"broker CPU, produce {each}, ms/MiB", name, (between - before) * 1000 / mib, at_most(2.0))
        figures.add(f"broker CPU, consume {each}, ms/MiB", name, (after - between) * 1000 / mib)
    load.delete_topic(servers, topic)


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    usual = Effort()
    parser = argparse.ArgumentParser(prog="bench broker", description=__doc__)
    parser.add_argument("--starts", type=int, default=usual.starts, help="how often each peer is started")
    parser.add_argument("--repeats", type=int, default=usual.repeats, help="how often each load is run")
    parser.add_argument("--scale", type=float, default=usual.scale, help="size of the loads; 1.0 is the full one")
    parser.add_argument("--warm-up", type=float, default=usual.warm_up_s, metavar="SECONDS")
    parser.add_argument("--alone", action="store_true", help="leave Apache Kafka out")
    parser.add_argument("--range", action="store_true", help="print smallest and largest values too")
    options = parser.parse_args(arguments)
    effort = Effort(options.starts, options.repeats, options.scale, options.warm_up)
    print(measure(peers(alone=options.alone), effort).table(with_range=options.range))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
