"""The log alone: appends, reads, look-ups, recovery, opening, compaction; beside what the machine itself can do.

Run it with `python -m bench storage`. Files go to a temporary directory (`--directory` for another place); appends go
into the page cache. Every figure is the best of a few repetitions, and says whether its goal is met. `raw` lines are
the same bytes through bare system calls."""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import compaction, lines
from bench.figures import Goal, at_least, at_most
from bench.lines import say, timed
from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import SystemClock
from blumfeld.env.disk import Disk, RealDisk
from blumfeld.env.entropy import SystemEntropy
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.launch.interpreter import take_short_turns
from blumfeld.protocol.records import Record, build_batch
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.manager import LogManager

CLOCK = SystemClock()
TOPIC_ID = bytes(range(16))


def batch_of(size: int, count: int = 1, **options: Any) -> bytes:
    """A batch of about `size` bytes."""
    value = max(size - 70 - 6 * count, 1) // count
    now = CLOCK.time_ms()
    return build_batch([Record(i, now, None, os.urandom(value)) for i in range(count)], **options)


@contextmanager
def fresh_log(disk: Disk, root: str, config: LogConfig | None = None) -> Iterator[Log]:
    directory = f"{root}/t-0"
    disk.remove_tree(directory)
    disk.make_directories(root)
    log = Log.open(directory, config or LogConfig(), disk, CLOCK)
    yield log
    log.abandon()


def appends(
    disk: Disk, name: str, root: str, size: int, total: int, speed: Goal | None = None, rate: Goal | None = None
) -> None:
    """Through `append_as_leader`, the buffers reused, as frames come one after the other."""
    data = batch_of(size)
    buffers = [bytearray(data) for _ in range(32)]
    count = total // len(data)
    now = CLOCK.time_ms()
    base = bytes(8)

    def work() -> None:
        with fresh_log(disk, root) as log:
            append = log.append_as_leader
            for number in range(count):
                buffer = buffers[number & 31]
                buffer[:8] = base
                append(buffer, 3, now_ms=now)

    seconds = timed(work)
    say(f"append {len(data):,} B batches, {name}", count * len(data) / seconds / 1e6, "MB/s", speed)
    say("", count / seconds, "batches/s", rate, f"({seconds / count * 1e6:.2f} µs each)")


def idempotent_appends(root: str) -> None:
    count = 20_000
    now = CLOCK.time_ms()
    data = [bytearray(batch_of(200, producer_id=7, producer_epoch=0, base_sequence=i)) for i in range(count)]

    def work() -> None:
        with fresh_log(RealDisk(), root) as log:
            for buffer in data:
                buffer[:8] = bytes(8)
                log.append_as_leader(buffer, 3, now_ms=now)

    seconds = timed(work)
    say(
        "append 200 B batches, idempotent", count / seconds, "batches/s", None, f"({seconds / count * 1e6:.2f} µs each)"
    )


def raw_writes(root: str, size: int, total: int) -> None:
    data = batch_of(size)
    count = total // len(data)

    def work() -> None:
        fd = os.open(f"{root}/raw", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        position = 0
        for _ in range(count):
            position += os.pwrite(fd, data, position)
        os.close(fd)

    seconds = timed(work)
    say(f"raw pwrite of {len(data):,} B", count * len(data) / seconds / 1e6, "MB/s")
    os.remove(f"{root}/raw")


def fill(log: Log, total: int, size: int) -> None:
    data = batch_of(size)
    now = CLOCK.time_ms()
    for _ in range(total // len(data)):
        log.append_as_leader(data, 3, now_ms=now)


def reads(disk: Disk, name: str, root: str) -> None:
    with fresh_log(disk, root) as log:
        fill(log, 200 << 20, 16_384)
        for wanted in (1 << 20, 64 << 10):

            def through(wanted: int = wanted) -> None:
                offset = 0
                while offset < log.log_end_offset:
                    result = log.read(offset, wanted)
                    offset = (result.cold() if result.cold else result).next_offset

            say(f"read through in {wanted >> 10} KiB, {name}", log.size / timed(through) / 1e6, "MB/s")
        offsets = [random.randrange(log.log_end_offset) for _ in range(20_000)]

        def anywhere() -> None:
            for offset in offsets:
                result = log.read(offset, 1000)
                if result.cold:
                    result.cold()

        say(f"read one batch of 16 KiB anywhere, {name}", timed(anywhere) / len(offsets) * 1e6, "µs")


def look_ups(root: str) -> None:
    """In an index of a full segment of 1 GiB: 262,144 entries."""
    with fresh_log(MemoryDisk(), root) as log:
        index = log.active.offset_index
        for number in range(1, 262_144):
            index.append(number * 10, number * 4096)
        offsets = [random.randrange(2_621_440) for _ in range(100_000)]

        def work() -> None:
            for offset in offsets:
                index.position_for(offset)

        say("index look-up, 262,144 entries", timed(work) / len(offsets) * 1e6, "µs", at_most(5))


def recovery(root: str) -> None:
    for size, count in ((16_384, 1), (16_384, 100), (200, 1)):
        total = (512 << 20) if size > 1000 else (64 << 20)
        disk = RealDisk()
        disk.remove_tree(f"{root}/t-0")
        log = Log.open(f"{root}/t-0", LogConfig(), disk, CLOCK)
        data = batch_of(size, count)
        for _ in range(total // len(data)):
            log.append_as_leader(data, 3, now_ms=CLOCK.time_ms())
        log.abandon()

        def work(disk: Disk = disk) -> None:
            Log.open(f"{root}/t-0", LogConfig(), disk, CLOCK).abandon()

        goal = at_least(500) if size > 1000 else None
        say(f"recovery, batches of {len(data):,} B ({count} records)", total / timed(work, 2) / 1e6, "MB/s", goal)


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def partitions(root: str, count: int = 5_000) -> None:
    """Making, closing and opening many empty partitions."""
    config = Config([Layer("bench", {"log.dirs": f"{root}/many"})])

    def manager() -> LogManager:
        made = LogManager(config, RealDisk(), CLOCK, SystemEntropy())
        made.open("bench", 1)
        return made

    first = manager()
    begun = lines.timer()
    for number in range(count):
        first.create("t", number, TOPIC_ID)
    say(f"making {count:,} partitions", lines.timer() - begun, "s")
    begun = lines.timer()
    first.close()
    say(f"closing {count:,} empty partitions", lines.timer() - begun, "s")
    del first
    gc.collect()
    before = resident_bytes()
    begun = lines.timer()
    again = manager()
    say(f"opening {count:,} empty partitions, closed cleanly", lines.timer() - begun, "s", at_most(2))
    gc.collect()
    say("memory of each", (resident_bytes() - before) / count / 1024, "KiB", at_most(10))
    begun = lines.timer()
    now = CLOCK.time_ms()
    for _ in range(10):
        again.turn(now)
    say("an idle turn of the manager", (lines.timer() - begun) / 10 * 1e6, "µs")
    again.release()
    begun = lines.timer()
    manager().release()
    say(f"opening {count:,} empty partitions after a kill", lines.timer() - begun, "s")


def flushes(root: str) -> None:
    with fresh_log(RealDisk(), root) as log:
        data = batch_of(1000)

        def work() -> None:
            for _ in range(100):
                log.append_as_leader(data, 3, now_ms=CLOCK.time_ms())
                log.flush()

        say("append and flush, one by one", timed(work) / 100 * 1e6, "µs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench storage", description=__doc__)
    parser.add_argument("--directory", help="where files go (default: a temporary directory)")
    parser.add_argument("--only", help="run only the parts whose name contains this")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds: what a machine of our own would need")
    arguments = parser.parse_args()
    take_short_turns()  # as a serving process does
    if arguments.cpu:
        lines.timer = time.process_time
    root = tempfile.mkdtemp(prefix="blumfeld-bench-", dir=arguments.directory)
    parts: dict[str, Callable[[], None]] = {
        "appends": lambda: appends(RealDisk(), "disk", root, 16_384, 256 << 20, speed=at_least(400)),
        "appends-large": lambda: appends(RealDisk(), "disk", root, 1 << 20, 512 << 20),
        "appends-small": lambda: appends(RealDisk(), "disk", root, 200, 8 << 20, rate=at_least(20_000)),
        "appends-memory": lambda: appends(MemoryDisk(), "memory", "/bench", 16_384, 256 << 20),
        "appends-idempotent": lambda: idempotent_appends(root),
        "raw": lambda: raw_writes(root, 16_384, 256 << 20),
        "reads": lambda: reads(RealDisk(), "disk", root),
        "reads-memory": lambda: reads(MemoryDisk(), "memory", "/bench"),
        "look-ups": lambda: look_ups("/bench"),
        "recovery": lambda: recovery(root),
        "partitions": lambda: partitions(root),
        "flushes": lambda: flushes(root),
        "compaction": lambda: compaction.run(root),
    }
    try:
        for name, part in parts.items():
            if arguments.only is None or arguments.only in name:
                part()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"\nmissed: {', '.join(lines.missed)}" if lines.missed else "\nevery goal is met")
    return 1 if lines.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
