"""Chaos: three broker processes under steady load, and a nemesis; afterwards it is proved that nothing was lost.

    python -m tests.crash.chaos --seconds 180 --seed 7

A run counts only with enough of everything (`Quota`). Where the machine is too slow to get there in its time, it goes
on up to three times as long, with more time between faults. A run that fails keeps its directory: data, broker logs,
and what the nemesis did when.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from blumfeld.testing.kafka import Kafka
from tests.crash.checker import Checked, check
from tests.crash.history import Consuming, History
from tests.crash.nemesis import KINDS, Nemesis
from tests.crash.proxied import ProxiedCluster
from tests.crash.workload import (
    ConfluentMember,
    ConfluentProducer,
    KafkaPythonMember,
    KafkaPythonProducer,
    Load,
)

CONFIG = {
    "min.insync.replicas": "2",
    "replica.lag.time.max.ms": "1500",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "300",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
    "log.segment.bytes": str(1 << 20),
    "log.cleaner.enable": "false",
    "auto.create.topics.enable": "false",
}
TOPICS = {"exact": 6, "loose": 3}
SETTLE_S = 60.0
MOST = 3
"""How many times its time a run may take."""
REST = 2.0
"""In overtime: how much longer than before the pauses between faults are."""


@dataclass(frozen=True)
class Quota:
    """What a run must have had to count."""

    faults: int = 20
    each_kind: int = 2
    acks: int = 100_000
    seconds_with_acks: float = 0.5

    def missing(self, history: History) -> list[str]:
        """What it lacks."""
        kinds = history.kinds()
        lacking = []
        if len(history.faults) < self.faults:
            lacking.append(f"{len(history.faults)} faults of {self.faults}")
        lacking += [f"{kinds[kind]} × {kind!r}" for kind in KINDS if kinds[kind] < self.each_kind]
        if history.acknowledged() < self.acks:
            lacking.append(f"{history.acknowledged():,} acks of {self.acks:,}")
        share = history.seconds_with_acks()
        if share < self.seconds_with_acks:
            lacking.append(f"acks in {share:.0%} of its seconds")
        return lacking


@dataclass
class Outcome:
    """One run."""

    seed: int
    history: History
    directory: Path
    lacking: list[str] = field(default_factory=list)
    checked: Checked | None = None

    @property
    def passed(self) -> bool:
        return not self.lacking and self.checked is not None and not self.checked.violations


def run(seconds: float, seed: int, directory: Path, quota: Quota) -> Outcome:
    """One run in `directory`."""
    os.environ.setdefault("BLUMFELD_LOG", "INFO")
    history = History()
    with ProxiedCluster(directory, CONFIG) as cluster:
        with Kafka(cluster.bootstrap_servers, timeout_s=SETTLE_S) as kafka:
            for topic, partitions in TOPICS.items():
                kafka.topic(topic, partitions=partitions)
            producers, members = _clients(history, cluster.bootstrap_servers)
            for load in (*members, *producers):
                load.start()
            history.started = time.monotonic()

            look_at = history.started + seconds

            def over() -> bool:
                nonlocal look_at
                history.ended = time.monotonic()
                if history.ended < look_at:
                    return False
                look_at = history.ended + 1.0  # counting takes time, which the clients need
                nemesis.rest = REST
                return history.ended - history.started >= MOST * seconds or not quota.missing(history)

            nemesis = Nemesis(cluster, history, seed, "exact", pace=0.7 if seconds < 90 else 1.2)
            nemesis.run(over)
            _settle(history, kafka, producers, members)
        cluster.stop()
        outcome = Outcome(seed, history, directory, quota.missing(history))
        outcome.checked = check(history, [cluster.data_of(node) for node in cluster.nodes], TOPICS)
    return outcome


def _clients(history: History, servers: str) -> tuple[list[Load], list[Load]]:
    producers: list[Load] = [
        ConfluentProducer(history, servers, "confluent-exact", "exact", 6, 3000, exact=True),
        KafkaPythonProducer(history, servers, "python-exact", "exact", 6, 600, exact=True),
        ConfluentProducer(history, servers, "confluent-loose", "loose", 3, 1500, exact=False),
    ]
    groups = [Consuming("confluent-group"), Consuming("python-group")]
    history.groups += groups
    topics = list(TOPICS)
    members: list[Load] = [
        ConfluentMember(servers, groups[0], topics),
        ConfluentMember(servers, groups[0], topics),
        KafkaPythonMember(servers, groups[1], topics),
    ]
    return producers, members


def _settle(history: History, kafka: Kafka, producers: list[Load], members: list[Load]) -> None:
    """All is healed: let everybody finish; what can't is noted."""
    everybody = [1, 2, 3]
    for producer in producers:
        producer.finish()
    places = [(topic, partition) for topic, count in TOPICS.items() for partition in range(count)]
    try:
        kafka.wait_until(lambda: all(kafka.isr(*place) == everybody for place in places), "all are in sync", SETTLE_S)
        ends = {(topic, partition): end for topic in TOPICS for partition, end in kafka.offsets(topic).items()}
        total = sum(ends.values())
        kafka.wait_until(
            lambda: all(len(group.seen) >= total for group in history.groups),
            f"every group has seen all {total} records ({[len(g.seen) for g in history.groups]})",
            SETTLE_S,
        )
    except TimeoutError as error:
        history.broken.append(str(error))
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
    for member in members:
        member.finish()


def report(outcome: Outcome) -> str:
    """What a run was, in a few lines."""
    history, checked = outcome.history, outcome.checked
    lines = [
        (
            f"seed {outcome.seed}: {history.ended - history.started:.0f} s, {len(history.faults)} faults,"
            f" {history.acknowledged():,} acks, acks in {history.seconds_with_acks():.0%} of the seconds"
        ),
        "  " + ", ".join(f"{count} × {kind}" for kind, count in sorted(history.kinds().items())),
    ]
    times = sorted(ack.time for producing in history.producers if producing.exact for ack in producing.acks)
    if len(times) > 1:
        gap, since = max((b - a, a) for a, b in pairwise(times))
        lines.append(f"  longest time without an ack of acks=all: {gap:.1f} s from {since - history.started:.1f} s on")
    if checked is not None:
        again = ", ".join(f"{group.name} saw {group.again:,} records again" for group in history.groups)
        lines.append(
            f"  {checked.records:,} records in the logs; acks=1 lost {checked.lost_tail:,} of"
            f" {checked.acknowledged_once:,}; {again}"
        )
        lines += [f"  VIOLATION {violation}" for violation in checked.violations]
    if outcome.lacking:
        lines.append(f"  DOES NOT COUNT: {'; '.join(outcome.lacking)}")
    return "\n".join(lines)


def journal(outcome: Outcome) -> str:
    """What the nemesis did, with wall-clock times as in the brokers' logs."""
    offset = time.time() - time.monotonic()
    lines = []
    for fault in outcome.history.faults:
        clock = (
            time.strftime("%H:%M:%S", time.localtime(fault.since + offset)) + f"{(fault.since + offset) % 1:.3f}"[1:]
        )
        lines.append(
            f"{clock}  {fault.since - outcome.history.started:6.2f} s  {fault.until - fault.since:5.2f} s"
            f"  {fault.kind}: {fault.what}"
        )
    times = sorted(ack.time for producing in outcome.history.producers if producing.exact for ack in producing.acks)
    began = outcome.history.started
    lines += [
        f"no ack of acks=all from {a - began:6.2f} s to {b - began:6.2f} s" for a, b in pairwise(times) if b - a > 1
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once, or with `--runs` several seeds one after the other; 0 where all passed."""
    parser = argparse.ArgumentParser(prog="tests.crash.chaos", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, counting from the first")
    parser.add_argument("--keep", action="store_true", help="keep the directory of a run that passed, too")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    failed = 0
    for number in range(seed, seed + options.runs):
        directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        logging.basicConfig(
            filename=directory / "clients.log", level="INFO", format="%(asctime)s %(name)s %(message)s", force=True
        )
        outcome = run(options.seconds, number, directory, Quota())
        print(report(outcome), flush=True)
        if outcome.passed and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            (directory / "journal").write_text(journal(outcome))
            print(f"  kept {directory}", file=sys.stderr)
        failed += not outcome.passed
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
