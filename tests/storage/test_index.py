"""The sparse indexes: what they find, keep and forget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.env.disk import Disk
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.storage.index import CorruptIndex, LoadedIndexes, OffsetIndex, TimeIndex

BASE = 1000
Make = Callable[..., OffsetIndex]


@pytest.fixture
def path(disk: Disk, tmp_path: Path) -> str:
    disk.make_directories(str(tmp_path))
    return f"{tmp_path}/00000000000000001000.index"


def make(disk: Disk, path: str, *, new: bool = True, max_bytes: int = 4096, loaded: int = 1 << 20) -> OffsetIndex:
    return OffsetIndex(LoadedIndexes(disk, loaded, threading.Lock()), path, BASE, max_bytes, new=new)


def make_time(disk: Disk, path: str, *, new: bool = True, max_bytes: int = 4096) -> TimeIndex:
    return TimeIndex(LoadedIndexes(disk, 1 << 20, threading.Lock()), path, BASE, max_bytes, new=new)


def test_an_empty_index_sends_everyone_to_the_start(disk: Disk, path: str) -> None:
    index = make(disk, path)
    assert index.position_for(BASE) == (0, -1)
    assert index.position_for(BASE + 99) == (0, -1)
    assert index.boundary_before(12345) == 0
    assert index.entries == 0
    assert not disk.exists(path)


def test_the_entry_of_a_batch_serves_its_last_offset_and_what_follows(disk: Disk, path: str) -> None:
    index = make(disk, path)
    index.append(BASE + 9, 5000)
    index.append(BASE + 19, 10000)
    assert index.position_for(BASE + 8) == (0, 5000)
    assert index.position_for(BASE + 9) == (5000, 10000)
    assert index.position_for(BASE + 18) == (5000, 10000)
    assert index.position_for(BASE + 19) == (10000, -1)
    assert index.boundary_before(9999) == 5000
    assert index.boundary_before(10000) == 10000


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1500])
def test_entries_in_the_file_and_those_not_yet_written_are_one(disk: Disk, path: str, count: int) -> None:
    index = make(disk, path, max_bytes=1 << 16)
    entries = [(BASE + 10 * i + 9, 5000 * (i + 1)) for i in range(count)]
    for offset, position in entries:
        index.append(offset, position)
    assert index.entries == count
    assert index.all() == entries
    for i, (offset, position) in enumerate(entries):
        following = entries[i + 1][1] if i + 1 < count else -1
        assert index.position_for(offset) == (position, following)
        assert index.boundary_before(position + 1) == position
    index.seal()
    assert disk.size(path) == 8 * count
    again = make(disk, path, new=False, max_bytes=1 << 16)
    assert again.all() == entries
    assert again.last_position() == entries[-1][1]


def test_an_active_index_is_preallocated_and_a_sealed_one_cut(disk: Disk, path: str) -> None:
    index = make(disk, path, max_bytes=4100)
    index.append(BASE + 1, 5000)
    index.write()
    assert disk.size(path) == 4096
    index.seal()
    assert disk.size(path) == 8
    time_index = make_time(disk, path.replace(".index", ".timeindex"), max_bytes=10 << 20)
    time_index.append(1, BASE)
    time_index.write()
    assert disk.size(time_index.path) == 10_485_756


def test_preallocated_zeros_of_an_index_not_closed_are_no_entries(disk: Disk, path: str) -> None:
    index = make(disk, path)
    index.append(BASE + 256, 65536)  # ends in zero bytes itself
    index.write()
    again = make(disk, path, new=False)
    assert again.all() == [(BASE + 256, 65536)]


def test_full_when_no_entry_fits(disk: Disk, path: str) -> None:
    index = make(disk, path, max_bytes=16)
    index.append(BASE + 1, 5000)
    assert not index.full
    index.append(BASE + 2, 10000)
    assert index.full


def test_the_time_index_keeps_a_slot_in_reserve(disk: Disk, path: str) -> None:
    index = make_time(disk, path, max_bytes=24)
    assert not index.full
    index.append(5, BASE)
    assert index.full


def test_truncating_drops_the_batches_that_reach_the_offset(disk: Disk, path: str) -> None:
    index = make(disk, path)
    for i in range(600):
        index.append(BASE + 10 * i + 9, 5000 * (i + 1))
    index.truncate(BASE + 5009)
    assert index.entries == 500
    assert index.all()[-1] == (BASE + 4999, 2_500_000)
    index.append(BASE + 5001, 2_600_000)
    index.truncate(BASE + 5000)
    assert index.entries == 500
    index.truncate(BASE)
    assert index.entries == 0
    index.seal()
    assert disk.size(path) == 0


def test_what_was_truncated_does_not_come_back_from_the_file(disk: Disk, path: str) -> None:
    index = make(disk, path)
    for i in range(10):
        index.append(BASE + i, 5000 * (i + 1))
    index.write()
    index.truncate(BASE + 3)
    index.append(BASE + 7, 77_777)
    index.write()
    assert make(disk, path, new=False).all()[-2:] == [(BASE + 2, 15000), (BASE + 7, 77_777)]


def test_loaded_indexes_stay_within_their_bound(disk: Disk, path: str, tmp_path: Path) -> None:
    loaded = LoadedIndexes(disk, 100, threading.Lock())
    indexes = [OffsetIndex(loaded, f"{tmp_path}/{i}.index", BASE, 4096, new=True) for i in range(5)]
    for index in indexes:
        for i in range(6):
            index.append(BASE + i, 5000 * (i + 1))
        index.write()
    for index in [*indexes, *reversed(indexes)]:
        assert index.position_for(BASE + 3) == (20000, 25000)
        assert loaded.loaded_bytes <= 100
    assert sum(index.loaded for index in indexes) == 2
    for index in indexes:
        index.release()
    assert loaded.loaded_bytes == 0


@pytest.mark.parametrize("damage", [b"\xff" * 8, b"\0\0\0\x07\0\0\0\1" * 2, b"\1" * 13])
def test_a_file_that_cannot_be_this_index_is_corrupt(disk: Disk, path: str, damage: bytes) -> None:
    disk.write_file_atomically(path, damage)
    with pytest.raises(CorruptIndex):
        make(disk, path, new=False).position_for(BASE)


def test_a_missing_file_is_a_corrupt_index(disk: Disk, path: str) -> None:
    with pytest.raises(CorruptIndex):
        make(disk, path, new=False).position_for(BASE)


def test_time_entries_are_only_for_larger_timestamps(disk: Disk, path: str) -> None:
    index = make_time(disk, path)
    assert index.last() == (-1, BASE)
    index.append(10, BASE + 4)
    index.append(10, BASE + 9)
    index.append(9, BASE + 12)
    index.append(20, BASE + 15)
    assert index.all() == [(10, BASE + 4), (20, BASE + 15)]
    assert index.offset_before(10) == BASE
    assert index.offset_before(11) == BASE + 4
    assert index.offset_before(21) == BASE + 15
    index.truncate(BASE + 15)
    assert index.last() == (10, BASE + 4)


def test_time_look_ups_across_file_and_tail(disk: Disk, path: str) -> None:
    index = make_time(disk, path, max_bytes=1 << 16)
    for i in range(700):
        index.append(100 + 2 * i, BASE + i)
    for i in range(1, 700):
        assert index.offset_before(100 + 2 * i) == BASE + i - 1
        assert index.offset_before(101 + 2 * i) == BASE + i
    index.seal()
    assert make_time(disk, path, new=False).last() == (100 + 2 * 699, BASE + 699)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 9000)), max_size=60),
    writes=st.sets(st.integers(0, 60)),
    cut=st.integers(0, 4000) | st.none(),
    probes=st.lists(st.integers(0, 200_000), min_size=1, max_size=20),
)
def test_look_ups_equal_a_walk_over_the_entries(
    steps: list[tuple[int, int]], writes: set[int], cut: int | None, probes: list[int]
) -> None:
    disk = MemoryDisk()
    index = make(disk, "/i.index")
    entries: list[tuple[int, int]] = []
    offset, position = BASE - 1, 0
    for number, (records, size) in enumerate(steps):
        offset, position = offset + records, position + size
        entries.append((offset, position))
        index.append(offset, position)
        if number in writes:
            index.write()
    if cut is not None:
        index.truncate(BASE + cut)
        entries = [entry for entry in entries if entry[0] < BASE + cut]
    assert index.all() == entries
    for probe in probes:
        at_or_before = [entry[1] for entry in entries if entry[0] <= BASE + probe]
        after = [entry[1] for entry in entries if entry[0] > BASE + probe]
        assert index.position_for(BASE + probe) == ((at_or_before or [0])[-1], (after or [-1])[0])
        assert index.boundary_before(probe) == max((p for _, p in entries if p <= probe), default=0)
