"""What must be so after a run, from the logs on disk and what clients noted. Pure, but for reading the logs.

Proves, or says what is not so:
- replicas are equal byte by byte, offsets follow each other without gaps;
- the metadata log and `__consumer_offsets` have one history: what two replicas have up to the last batch that both have
  is the same, byte by byte (their ends may differ: nobody waited for them);
- what was acknowledged with acks=all by an idempotent producer is there, where it was said to be, once and in order;
- what was acknowledged with acks=1 is there, but for what was acknowledged shortly before or during a fault;
- there is nothing that nobody sent;
- each group has seen every record at least once, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.records import read_records
from tests.crash.history import Consuming, Fault, History, Place, Producing
from tests.crash.workload import parse

BEFORE_S = 2.25
"""acks=1: how long before a fault an acknowledged record may not have been replicated yet: a follower that lags
leaves the ISR after replica.lag.time.max.ms, which is looked at twice in that time."""
AFTER_S = 6.0
"""acks=1: how long after a pause or a cut a leader may go on that was deposed meanwhile."""
SLOW_KINDS = frozenset({"pause", "cut both ways", "cut one way", "isolate"})
"""Faults that leave a leader where clients reach it; all others end it, or it knows of its successor."""
INTERNAL = ("__cluster_metadata-0", "__consumer_offsets-*")
SHOWN = 5


class Checked(NamedTuple):
    """What was found."""

    violations: list[str]
    records: int
    lost_tail: int
    """Records acknowledged with acks=1 that are gone, as they may be."""
    acknowledged_once: int
    """Records acknowledged with acks=1."""


def check(history: History, directories: list[Path], partitions: dict[str, int]) -> Checked:
    """Check one run. `directories`: the data of each node, stopped; `partitions`: how many each topic has."""
    violations = [f"{what} ({count} times)" if count > 1 else what for what, count in Counter(history.broken).items()]
    content: dict[Place, bytes] = {}
    for topic, count in partitions.items():
        for partition in range(count):
            logs = [_log(directory, f"{topic}-{partition}") for directory in directories]
            violations += _differences(f"{topic}-{partition}", logs)
            found, complaints = _records(topic, partition, max(logs, key=len))
            content |= found
            violations += complaints
    for pattern in INTERNAL:
        for name in sorted({path.name for directory in directories for path in directory.glob(pattern)}):
            violations += _forks(name, [_log(directory, name) for directory in directories])
    lost = tail = 0
    for producing in history.producers:
        if producing.exact:
            violations += _exactly_once(producing, content)
        else:
            gone, outside = _tail(producing, content, history.faults)
            lost += gone
            tail += len(producing.acks)
            violations += outside
    violations += _invented(history.producers, content)
    for group in history.groups:
        violations += _seen(group, content)
    return Checked(violations, len(content), lost, tail)


# --- the logs --------------------------------------------------------------------------------------------------


def _log(directory: Path, name: str) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((directory / name).glob("*.log")))


def _differences(name: str, logs: list[bytes]) -> list[str]:
    if all(log == logs[0] for log in logs):
        return []
    ends = [_end(log) for log in logs]
    at = next((n for n, parts in enumerate(zip(*logs, strict=False)) if len(set(parts)) > 1), min(map(len, logs)))
    return [f"{name}: replicas differ from byte {at} on; they end at {ends} ({[len(log) for log in logs]} bytes)"]


def _forks(name: str, logs: list[bytes]) -> list[str]:
    """Where two histories part although both have a batch of the same offset and leader epoch further on."""
    histories = [
        {(batch.base_offset, batch.leader_epoch): bytes(batch.view) for batch in iterate_batches(log)} for log in logs
    ]
    violations = []
    for (one, first), (two, second) in combinations(enumerate(histories, 1), 2):
        common = first.keys() & second.keys()
        if not common:
            continue
        start, end = max(min(first), min(second))[0], max(common)[0]
        kept = [{at: data for at, data in history.items() if start <= at[0] <= end} for history in (first, second)]
        differing = sorted(at for at in kept[0].keys() | kept[1].keys() if kept[0].get(at) != kept[1].get(at))
        if differing:
            violations.append(f"{name}: replicas {one} and {two} share {max(common)} and differ at {differing[:SHOWN]}")
    return violations


def _end(log: bytes) -> int:
    return max((batch.next_offset for batch in iterate_batches(log)), default=0)


def _records(topic: str, partition: int, log: bytes) -> tuple[dict[Place, bytes], list[str]]:
    found: dict[Place, bytes] = {}
    complaints = []
    expected = 0
    for batch in iterate_batches(log):
        if batch.base_offset != expected or not batch.is_valid_crc():
            complaints.append(f"{topic}-{partition}: {batch} where offset {expected} follows")
        expected = batch.next_offset
        for record in read_records(batch, 1 << 24):
            assert record.value is not None
            found[topic, partition, record.offset] = bytes(record.value)
    return found, complaints


# --- what was sent ---------------------------------------------------------------------------------------------


def _exactly_once(producing: Producing, content: dict[Place, bytes]) -> list[str]:
    violations = [f"{producing.name}: {failure}" for failure in producing.failures[:SHOWN]]
    numbers: dict[int, list[int]] = {partition: [] for partition in producing.sent}
    for (topic, partition, _), value in content.items():  # ascending offsets within each partition
        if topic == producing.topic:
            name, meant, number = parse(value)
            if name == producing.name:
                numbers[partition].append(number)
                if meant != partition:
                    violations.append(f"{name}: a record for partition {meant} is in {partition}")
    for partition, found in numbers.items():
        wanted = producing.sent[partition]
        if found == list(range(wanted)):
            continue
        where = f"{producing.name} in partition {partition}"
        missing = sorted(set(range(wanted)).difference(found))
        doubled = sorted({n for n in found if found.count(n) > 1}) if len(found) > len(set(found)) else []
        if missing:
            violations.append(f"{where}: {len(missing)} of {wanted} records are lost: {missing[:SHOWN]}")
        if doubled:
            violations.append(f"{where}: {len(doubled)} records are doubled: {doubled[:SHOWN]}")
        if found != sorted(found):
            violations.append(f"{where}: records are out of order")
    wrong = [ack for ack in producing.acks if ack.place[2] >= 0 and content.get(ack.place) != ack.value]
    if wrong:
        first = wrong[0]
        violations.append(
            f"{producing.name}: {len(wrong)} acknowledged records are not where it was said: at {first.place} is"
            f" {content.get(first.place, b'nothing')[:40]!r}, not {first.value[:40]!r}"
        )
    return violations


def _tail(producing: Producing, content: dict[Place, bytes], faults: list[Fault]) -> tuple[int, list[str]]:
    present = {value for place, value in content.items() if place[0] == producing.topic}
    lost = [ack for ack in producing.acks if ack.value not in present]
    outside = [ack for ack in lost if not any(_may_lose(fault, ack.time) for fault in faults)]
    if not outside:
        return len(lost), []
    first = outside[0]
    return len(lost), [
        (
            f"{producing.name}: {len(outside)} records acknowledged with acks=1 are lost though there was no fault:"
            f" {first.value[:40]!r} at {first.place}"
        )
    ]


def _may_lose(fault: Fault, time: float) -> bool:
    after_s = AFTER_S if fault.kind in SLOW_KINDS else BEFORE_S
    return fault.since - BEFORE_S <= time <= fault.until + after_s


def _invented(producers: list[Producing], content: dict[Place, bytes]) -> list[str]:
    sent = {producing.name: producing.sent for producing in producers}
    violations = []
    for place, value in content.items():
        name, partition, number = parse(value)
        if name not in sent or number >= sent[name][partition]:
            violations.append(f"nobody sent what is at {place}: {value[:40]!r}")
    return violations[:SHOWN]


# --- what was seen ---------------------------------------------------------------------------------------------


def _seen(group: Consuming, content: dict[Place, bytes]) -> list[str]:
    violations = group.contradictions[:SHOWN]
    missed = sorted(set(content).difference(group.seen))
    if missed:
        violations.append(f"{group.name}: {len(missed)} records were never seen: {missed[:SHOWN]}")
    wrong = sorted(place for place, value in group.seen.items() if content.get(place) != value)
    if wrong:
        at = wrong[0]
        violations.append(
            f"{group.name}: {len(wrong)} records were seen that are not in the log: at {at} it saw"
            f" {group.seen[at][:40]!r}, there is {content.get(at, b'nothing')[:40]!r}"
        )
    return violations
