"""The memory disk: views that stay what they were, files that cost nothing, a bound that holds."""

from __future__ import annotations

import errno
import tracemalloc

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.memory_disk import MemoryDisk


def test_a_read_within_a_chunk_is_a_view_that_cannot_be_written() -> None:
    file = MemoryDisk().open("f", create=True)
    file.append(b"0123456789")
    view = file.read_cached(2, 5)
    assert isinstance(view, memoryview)
    assert view.readonly
    assert bytes(view) == b"23456"


def test_a_view_keeps_what_it_shows_while_the_file_goes_on() -> None:
    disk = MemoryDisk()
    file = disk.open("f", create=True)
    file.append(b"0123456789" * 1_000)
    view = file.read_at(5_000, 10)
    file.truncate(5_002)
    file.append(b"XXXXXXXXXXXXXXXX")
    assert bytes(view) == b"0123456789"
    assert bytes(file.read_at(5_000, 10)) == b"01XXXXXXXX"
    disk.remove("f")
    assert bytes(view) == b"0123456789"


def test_truncating_at_every_position_keeps_the_rest() -> None:
    data = bytes(range(250)) * 12
    for size in range(0, 3_001, 7):
        file = MemoryDisk().open("f", create=True)
        for start in range(0, 3_000, 100):
            file.append(data[start : start + 100])
        file.truncate(size)
        file.append(b"tail")
        assert bytes(file.read_at(0, 9_999)) == data[:size] + b"tail"


def test_the_bytes_of_all_files_are_bounded() -> None:
    disk = MemoryDisk(max_bytes=100)
    first, second = disk.open("a", create=True), disk.open("b", create=True)
    first.append(bytes(60))
    with pytest.raises(OSError) as full:
        second.append([bytes(30), bytes(11)])
    assert (full.value.errno, full.value.filename, second.size) == (errno.ENOSPC, "b", 0)
    second.append(bytes(40))
    assert (disk.used_bytes, disk.free_bytes("")) == (100, 0)
    with pytest.raises(OSError):
        second.write_at(40, b"x")
    second.write_at(0, b"overwriting takes no room")
    first.truncate(50)
    second.append(bytes(10))
    disk.remove("b")
    assert (disk.used_bytes, disk.free_bytes("")) == (50, 50)
    second.append(bytes(1_000))  # a file without a name is nobody's any more
    disk.rename("a", "c")
    disk.open("d", create=True).append(bytes(50))
    disk.rename("d", "c")
    assert disk.used_bytes == 50
    disk.remove_tree("")
    assert disk.used_bytes == 0


def test_preallocated_room_counts_only_once_it_is_written() -> None:
    disk = MemoryDisk(max_bytes=1_000)
    file = disk.open("i", create=True)
    file.preallocate(10 << 20)
    file.write_at(0, bytes(8))
    assert (file.size, disk.used_bytes) == (10 << 20, 8)
    file.truncate(8)
    assert (file.size, disk.used_bytes) == (8, 8)


def test_thousands_of_preallocated_files_cost_next_to_nothing() -> None:
    disk = MemoryDisk()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1_000):
        file = disk.open(f"{number}.index", create=True)
        file.preallocate(10 << 20)
        file.write_at(0, bytes(8))
    cost = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert cost < 2_000 * 1_000  # bytes for a thousand files


def test_files_know_when_they_were_last_written() -> None:
    clock = ManualClock(1_000)
    disk = MemoryDisk(clock=clock)
    file = disk.open("f", create=True)
    clock.advance(ms=5)
    file.append(b"x")
    clock.advance(ms=5)
    assert disk.modified_ms("f") == 1_005
