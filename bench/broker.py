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
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.figures import Figures, Goal, Value, at_most, ratio_at_least, ratio_at_most
from bench.first_ack import seconds_to_first_ack
from bench.imports import import_seconds
from bench.machine import Machine
from bench.options import add_common
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


def measure(makers: Mapping[str, MakePeer], effort: Effort, machine: Machine) -> Figures:
    """All figures of all peers."""
    figures = Figures(list(makers))
    with TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        measure_starts(makers, figures, effort.starts, home, machine)
        with ExitStack() as stack:
            running = {name: stack.enter_context(make(home / name, 1)) for name, make in makers.items()}
            for name, peer in running.items():
                _progress(f"{name}: warming up")
                peer.start()
                peer.wait_ready()
                warm_up(peer, effort)
            for repeat in range(effort.repeats):
                _progress(f"loads, {repeat + 1} of {effort.repeats}")
                measure_loads(running, figures, repeat, effort.scale, machine)
            for name, peer in running.items():
                figures.add("RSS under load, peak, MiB", name, peak_resident_mib(peer.pids[0]), at_most(120))
    return figures


def measure_starts(makers: Mapping[str, MakePeer], figures: Figures, starts: int, home: Path, machine: Machine) -> None:
    """Start-up and what an idle broker needs. A first start of each is not counted: it may have files to read from the
    device, and modules to compile."""
    for make in makers.values():
        _one_start(make, home)
    for number in range(starts):
        _progress(f"starts, {number + 1} of {starts}")
        for name, make in makers.items():
            figures.add_all(name, machine.undisturbed(partial(_one_start, make, home)))
    for seconds in import_seconds(home / "imports", starts):
        figures.add("imports of a serving broker, s of CPU", OURS, seconds, at_most(0.20))


def _one_start(make: MakePeer, home: Path) -> list[Value]:
    with make(home / f"start-{time.monotonic_ns()}", 1) as peer:
        seconds = seconds_to_first_ack(peer)
        spent = cpu_seconds(peer.pids[0])
        peer.wait_ready()
        time.sleep(SETTLE_S)
        return [
            Value("first ack after process start, s", seconds, at_most(0.40)),
            Value("CPU until the first ack, s", spent),
            Value("idle RSS, MiB", resident_mib(peer.pids[0]), at_most(45)),
            Value("idle CPU, %", cpu_percent(peer.pids[0], SETTLE_S)),
        ]


def measure_loads(running: Mapping[str, Peer], figures: Figures, repeat: int, scale: float, machine: Machine) -> None:
    """Every load once for every peer."""
    pids = [pid for peer in running.values() for pid in peer.pids]
    for name, peer in _in_turn(running, repeat):
        figures.add_all(name, machine.undisturbed(partial(_latencies, peer, scale), pids))
    for each in LOADS:
        for name, peer in _in_turn(running, repeat):
            figures.add_all(name, machine.undisturbed(partial(_one_load, peer, each, scale), pids))


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


def _latencies(peer: Peer, scale: float) -> list[Value]:
    latencies = load.ack_latencies(peer.bootstrap_servers, "latency", count=max(int(3000 * scale), 100))
    return [
        Value("ack p50, one in flight, ms", latencies.p50, ratio_at_most(0.8)),
        Value("ack p99, one in flight, ms", latencies.p99, ratio_at_most(1.0)),
    ]


def _one_load(peer: Peer, each: Load, scale: float) -> list[Value]:
    servers, pid, count = peer.bootstrap_servers, peer.pids[0], max(int(each.count * scale), 100)
    topic = f"load-{time.monotonic_ns()}"
    load.create_topic(servers, topic, each.partitions)
    mib = count * each.size / MIB
    before = cpu_seconds(pid)
    produced = load.produce(servers, topic, each.partitions, each.size, count)
    between = cpu_seconds(pid)
    consumed = load.consume(servers, topic, each.partitions, count)
    after = cpu_seconds(pid)
    load.delete_topic(servers, topic)
    values = [
        Value(f"produce {each}, records/s", produced, each.produce_goal),
        Value(f"consume {each}, records/s", consumed, ratio_at_least(1.0)),
    ]
    if each.size == 1024:
        values += [
            Value(f"broker CPU, produce {each}, ms/MiB", (between - before) * 1000 / mib, at_most(2.0)),
            Value(f"broker CPU, consume {each}, ms/MiB", (after - between) * 1000 / mib),
        ]
    return values


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="bench broker", description=__doc__)
    usual = Effort()
    parser.add_argument("--starts", type=int, default=usual.starts, help="how often each peer is started")
    parser.add_argument("--repeats", type=int, default=usual.repeats, help="how often each load is run")
    parser.add_argument("--scale", type=float, default=usual.scale, help="size of the loads; 1.0 is the full one")
    parser.add_argument("--warm-up", type=float, default=usual.warm_up_s, metavar="SECONDS")
    add_common(parser)
    options = parser.parse_args(arguments)
    effort = Effort(options.starts, options.repeats, options.scale, options.warm_up)
    machine = Machine(options.patience)
    figures = measure(peers(alone=options.alone), effort, machine)
    print(figures.report(with_range=options.range), machine, sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
