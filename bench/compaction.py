"""Compaction: how fast, and what appends beside it feel of it. A part of `python -m bench storage`.

Appends go to another log of the same process, one every 0.3 ms, by turns alone and while a round runs in a thread as
the broker runs it. Of each figure the best of a few rounds counts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from bench import lines
from bench.figures import at_least, at_most
from bench.lines import say
from blumfeld.env.clock import SystemClock
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.cleaner import Pace
from blumfeld.storage.compaction import Limits, Result, Round, assess
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.log_directory import LogDirectory

CLOCK = SystemClock()
_KEYS = 20_000
_BATCH_BYTES = 16_384
_APPEND_EVERY_S = 0.0003
_ALONE_S = 1.0
_ROUNDS = 3


def dirty_log(root: str, record_bytes: int, total_bytes: int, home: LogDirectory | None = None) -> Log:
    """A log of that size in which few of many records are the newest of their key."""
    config = LogConfig(cleanup_policy=("compact",), segment_bytes=32 << 20, message_timestamp_type="LogAppendTime")
    log = Log.open(f"{root}/dirty{record_bytes}-0", config, RealDisk(), CLOCK, home=home)
    chance = random.Random(1)
    count = max(1, _BATCH_BYTES // record_bytes)
    batches = [
        build_batch([Record(i, 0, b"key-%06d" % chance.randrange(_KEYS), bytes(record_bytes)) for i in range(count)])
        for _ in range(50)
    ]
    number = 0
    while log.size < total_bytes:
        log.append_as_leader(batches[number % 50], 1, now_ms=CLOCK.time_ms(), origin="coordinator")
        number += 1
    log.update_high_watermark(log.log_end_offset)
    log.flush()
    return log


def compact(log: Log) -> tuple[Result, float]:
    """A round as the cleaner runs it: (what it did, seconds)."""
    now_ms = CLOCK.time_ms()
    due = assess(log, 0, now_ms)
    assert due is not None
    pace = Pace(CLOCK, float("inf"), log.home)
    steps = Round(due, now_ms, Limits(breathe=pace.breathe, throttle=pace.throttle)).steps()
    begun = lines.timer()
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value, lines.timer() - begun
        step()


def append_latencies(log: Log, while_true: Callable[[], bool]) -> list[float]:
    """Microseconds of each append, in order of size."""
    data = build_batch([Record(0, CLOCK.time_ms(), b"k", bytes(_BATCH_BYTES))])
    found = []
    while while_true():
        buffer = bytearray(data)
        begun = time.perf_counter()
        log.append_as_leader(buffer, 1, now_ms=CLOCK.time_ms())
        found.append((time.perf_counter() - begun) * 1e6)
        time.sleep(_APPEND_EVERY_S)
    return sorted(found)


def percentile(latencies: list[float], share: float) -> float:
    return latencies[min(int(len(latencies) * share), len(latencies) - 1)]


def alone(other: Log, _: str) -> list[float]:
    until = time.perf_counter() + _ALONE_S
    return append_latencies(other, lambda: time.perf_counter() < until)


def beside(other: Log, root: str) -> list[float]:
    log = dirty_log(root, 999, 200 << 20, other.home)
    thread = threading.Thread(target=compact, args=(log,))
    thread.start()
    try:
        return append_latencies(other, thread.is_alive)
    finally:
        thread.join()
        discard(log)


def discard(log: Log) -> None:
    log.abandon()
    RealDisk().remove_tree(log.directory)


def run(root: str) -> None:
    """Measure in `root` and tell."""
    for record_bytes, total in ((1_000, 200 << 20), (100, 60 << 20)):
        speeds = []
        for _ in range(_ROUNDS):
            log = dirty_log(root, record_bytes, total)
            result, seconds = compact(log)
            speeds.append(result.bytes_read / seconds / 1e6)
            discard(log)
        say(f"compaction, {record_bytes}-byte records", max(speeds), "MB/s", at_least(50))
    other = Log.open(f"{root}/other-0", LogConfig(), RealDisk(), CLOCK, home=LogDirectory(root, RealDisk(), CLOCK))
    p99s = []
    for name, measure in (("alone", alone), ("beside compaction", beside)):
        rounds = [measure(other, root) for _ in range(_ROUNDS)]
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            say(f"append of 16 KiB, {name}, {label}", min(percentile(each, share) for each in rounds), "µs")
        p99s.append(min(percentile(each, 0.99) for each in rounds))
    say("append of 16 KiB, p99 beside compaction over alone", p99s[1] / p99s[0], "times", at_most(3))
    other.abandon()
