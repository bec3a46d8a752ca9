"""Compaction: how fast, and what appends beside it feel of it.

Run it with `python -m bench.compaction` (`--directory` for another place than a temporary one). Appends go to another
log of the same process, one every 0.3 ms, first alone, then while a round runs in a thread as the broker runs it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.storage import CLOCK, say
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.cleaner import Pace
from blumfeld.storage.compaction import Limits, Result, Round, assess
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig

_KEYS = 20_000
_BATCH_BYTES = 16_384
_APPEND_EVERY_S = 0.0003


def dirty_log(root: str, record_bytes: int, total_bytes: int) -> Log:
    """A log of that size in which few of many records are the newest of their key."""
    config = LogConfig(cleanup_policy=("compact",), segment_bytes=32 << 20, message_timestamp_type="LogAppendTime")
    log = Log.open(f"{root}/dirty{record_bytes}-0", config, RealDisk(), CLOCK)
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
    pace = Pace(CLOCK, float("inf"))
    steps = Round(due, now_ms, Limits(breathe=pace.breathe, throttle=pace.throttle)).steps()
    begun = time.perf_counter()
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value, time.perf_counter() - begun
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


def tell(name: str, latencies: list[float]) -> None:
    for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        say(f"{name}, {label}", latencies[min(int(len(latencies) * share), len(latencies) - 1)], "us")


def run(root: str) -> None:
    for record_bytes, total in ((1_000, 200 << 20), (100, 60 << 20)):
        result, seconds = compact(dirty_log(root, record_bytes, total))
        say(f"compaction, {record_bytes}-byte records", result.bytes_read / seconds / 1e6, "MB/s", "≥ 50")
    other = Log.open(f"{root}/other-0", LogConfig(), RealDisk(), CLOCK)
    until = time.perf_counter() + 2
    tell("append of 16 KiB, alone", append_latencies(other, lambda: time.perf_counter() < until))
    log = dirty_log(root, 999, 400 << 20)
    thread = threading.Thread(target=compact, args=(log,))
    thread.start()
    tell("append of 16 KiB, beside compaction", append_latencies(other, thread.is_alive))
    thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compaction")
    parser.add_argument("--directory", help="where to put the files")
    directory = parser.parse_args().directory
    with tempfile.TemporaryDirectory(dir=directory, prefix="bench-compaction-") as root:
        run(str(Path(root)))


if __name__ == "__main__":
    main()
