"""What every disk promises, told once and held by the real, the memory and the faulty one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blumfeld.env import paths
from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk, DiskBusy, File, RealDisk, make_durable_directories
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.env.memory_disk import MemoryDisk

_LARGE = 3 << 20


class Place:
    """A disk and a directory on it."""

    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.root = root
        self.files: list[File] = []

    def path(self, *names: str) -> str:
        return paths.join(self.root, *names)

    def create(self, name: str) -> File:
        file = self.disk.open(self.path(name), create=True, exclusive=True)
        self.files.append(file)
        return file


@pytest.fixture(params=["real", "memory", "faulty"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    disk: Disk
    if request.param == "real":
        place = Place(RealDisk(), str(tmp_path))
    else:
        disk = MemoryDisk(clock=ManualClock(5)) if request.param == "memory" else FaultyDisk(1)
        disk.make_directories("/data/x")
        place = Place(disk, "/data/x")
    yield place
    for file in place.files:
        file.close()


def content(file: File) -> bytes:
    return bytes(file.read_at(0, file.size))


def test_appends_land_one_after_the_other_and_say_where(place: Place) -> None:
    file = place.create("0.log")
    assert file.append(b"abc") == 0
    assert file.append([b"de", memoryview(b"fgh"), bytearray(b"i")]) == 3
    assert file.append(b"") == file.append([]) == 9
    assert (file.size, content(file)) == (9, b"abcdefghi")


def test_more_parts_than_the_system_takes_at_once(place: Place) -> None:
    file = place.create("0.log")
    parts = [str(i).encode() + b"." for i in range(3_000)]
    file.append(parts)
    assert content(file) == b"".join(parts)


def test_reads_are_short_at_the_end_and_empty_beyond(place: Place) -> None:
    file = place.create("0.log")
    file.append(b"0123456789")
    assert bytes(file.read_at(4, 3)) == b"456"
    assert bytes(file.read_at(8, 100)) == b"89"
    assert bytes(file.read_at(10, 5)) == bytes(file.read_at(99, 5)) == b""


def test_a_cached_read_answers_as_a_read_does_or_not_at_all(place: Place) -> None:
    file = place.create("0.log")
    file.append(bytes(range(256)) * 100)
    for position, size in [(0, 10), (25_000, 600), (25_600, 1), (30_000, 9)]:
        cached = file.read_cached(position, size)
        assert cached is None or bytes(cached) == bytes(file.read_at(position, size))


def test_large_contents_come_back_whole_however_they_are_cut(place: Place) -> None:
    file = place.create("0.log")
    data = os.urandom(_LARGE)
    for start in range(0, _LARGE, 100_003):
        file.append(data[start : start + 100_003])
    assert content(file) == data
    for position, size in [(0, 1 << 20), (262_100, 600), (1_048_000, 1_100_000), (_LARGE - 7, 100)]:
        assert bytes(file.read_at(position, size)) == data[position : position + size]


def test_writing_at_a_position_overwrites_and_may_grow(place: Place) -> None:
    file = place.create("0.index")
    file.append(b"aaaaaaaa")
    file.write_at(2, b"BB")
    file.write_at(7, b"CCC")
    assert (file.size, content(file)) == (10, b"aaBBaaaCCC")
    file.write_at(20, b"D")
    assert content(file) == b"aaBBaaaCCC" + bytes(10) + b"D"


def test_preallocated_room_reads_as_zeros_and_is_filled_in_place(place: Place) -> None:
    file = place.create("0.index")
    file.preallocate(10_000)
    assert (file.size, bytes(file.read_at(9_990, 100))) == (10_000, bytes(10))
    file.write_at(0, b"entry")
    file.preallocate(500)
    assert file.size == 10_000
    assert bytes(file.read_at(0, 8)) == b"entry\0\0\0"
    assert bytes(file.read_at(250, 500)) == bytes(500)
    file.truncate(5)
    assert content(file) == b"entry"
    assert file.append(b"!") == 5
    assert content(file) == b"entry!"


def test_appending_after_preallocated_zeros_goes_behind_them(place: Place) -> None:
    file = place.create("0.log")
    file.preallocate(300)
    assert file.append(b"x") == 300
    assert content(file) == bytes(300) + b"x"


def test_truncating_cuts_and_never_grows(place: Place) -> None:
    file = place.create("0.log")
    file.append(b"0123456789")
    file.truncate(20)
    assert file.size == 10
    file.truncate(4)
    assert file.append(b"AB") == 4
    assert content(file) == b"0123AB"
    file.truncate(0)
    assert (file.size, content(file)) == (0, b"")


def test_what_was_cut_does_not_come_back_in_preallocated_room(place: Place) -> None:
    file = place.create("0.index")
    file.append(b"old old old")
    file.truncate(3)
    file.preallocate(11)
    assert content(file) == b"old" + bytes(8)


def test_two_handles_see_one_file(place: Place) -> None:
    writer = place.create("0.log")
    reader = place.disk.open(place.path("0.log"), read_only=True)
    place.files.append(reader)
    writer.append(b"abc")
    assert bytes(reader.read_at(0, 3)) == b"abc"


def test_opening_and_creating(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        place.disk.open(place.path("missing"))
    place.create("here").append(b"x")
    with pytest.raises(FileExistsError):
        place.disk.open(place.path("here"), create=True, exclusive=True)
    again = place.disk.open(place.path("here"), create=True)
    place.files.append(again)
    assert content(again) == b"x"
    with pytest.raises(FileNotFoundError):
        place.disk.open(place.path("no", "such", "directory"), create=True)


def test_directories_are_made_listed_and_removed_whole(place: Place) -> None:
    place.disk.make_directories(place.path("a", "b"))
    place.disk.make_directories(place.path("a", "b"))
    for name in ("z", "b/2", "b/1"):
        place.disk.open(place.path("a", *name.split("/")), create=True).close()
    assert place.disk.list(place.path("a")) == ["b", "z"]
    assert place.disk.list(place.path("a", "b")) == ["1", "2"]
    assert place.disk.is_directory(place.path("a"))
    assert not place.disk.is_directory(place.path("a", "z"))
    place.disk.remove_tree(place.path("a"))
    place.disk.remove_tree(place.path("a"))
    assert not place.disk.exists(place.path("a"))
    with pytest.raises(FileNotFoundError):
        place.disk.list(place.path("a"))


def test_new_directories_can_be_made_durable(place: Place) -> None:
    make_durable_directories(place.disk, place.path("a", "b", "c"))
    make_durable_directories(place.disk, place.path("a", "b", "c"))
    assert place.disk.is_directory(place.path("a", "b", "c"))
    if isinstance(place.disk, FaultyDisk):
        make_durable_directories(place.disk, "/one/two")
        place.disk.crash()
        assert place.disk.is_directory("/one/two")


def test_renaming_replaces_files_and_moves_directories(place: Place) -> None:
    for name in ("old", "new"):
        place.disk.write_file_atomically(place.path(name), name.encode())
    place.disk.rename(place.path("old"), place.path("new"))
    assert place.disk.read_file(place.path("new")) == b"old"
    assert not place.disk.exists(place.path("old"))
    place.disk.make_directories(place.path("t-0"))
    place.disk.write_file_atomically(place.path("t-0", "f"), b"1")
    place.disk.rename(place.path("t-0"), place.path("t-0.0123-delete"))
    assert place.disk.read_file(place.path("t-0.0123-delete", "f")) == b"1"
    with pytest.raises(FileNotFoundError):
        place.disk.rename(place.path("missing"), place.path("else"))
    place.disk.make_directories(place.path("full"))
    place.disk.write_file_atomically(place.path("full", "f"), b"")
    with pytest.raises(OSError, match=r"(?i)not empty|exist"):
        place.disk.rename(place.path("t-0.0123-delete"), place.path("full"))


def test_a_removed_file_stays_readable_through_its_handle(place: Place) -> None:
    file = place.create("0.log")
    file.append(b"still here")
    place.disk.remove(place.path("0.log"))
    assert not place.disk.exists(place.path("0.log"))
    assert content(file) == b"still here"
    with pytest.raises(FileNotFoundError):
        place.disk.remove(place.path("0.log"))


def test_small_files_are_replaced_whole_and_leave_nothing_else(place: Place) -> None:
    path = place.path("checkpoint")
    place.disk.write_file_atomically(path, b"a longer first version")
    place.disk.write_file_atomically(path, b"short", sync=False)
    assert place.disk.read_file(path) == b"short"
    assert place.disk.size(path) == 5
    assert place.disk.list(place.root) == ["checkpoint"]


def test_a_lock_is_held_once_and_can_be_given_back(place: Place) -> None:
    lock = place.disk.lock(place.path(".lock"))
    with pytest.raises(DiskBusy) as refusal:
        place.disk.lock(place.path(".lock"))
    assert refusal.value.errno == errno.EBUSY
    lock.release()
    lock.release()
    place.disk.lock(place.path(".lock")).release()
    assert place.disk.exists(place.path(".lock"))


LOCKS_AS_JAVA_DOES = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is but one kind of lock there")
def test_a_lock_keeps_others_out_that_lock_as_java_does_and_is_kept_out_by_them(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    held = RealDisk().lock(str(path))
    command = [sys.executable, "-c", LOCKS_AS_JAVA_DOES, str(path)]
    refused = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False)
    assert refused.stdout == ""
    assert "BlockingIOError" in refused.stderr
    held.release()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DiskBusy):
            RealDisk().lock(str(path))
    RealDisk().lock(str(path)).release()


def test_syncing_closing_and_the_rest(place: Place) -> None:
    file = place.create("0.log")
    file.append(b"x")
    file.sync()
    place.disk.sync_directory(place.root)
    assert place.disk.modified_ms(place.path("0.log")) > 0
    assert place.disk.free_bytes(place.root) > 0
    file.close()
    file.close()


def test_a_read_only_handle_on_a_real_file_refuses_writes(tmp_path: Path) -> None:
    disk = RealDisk()
    disk.write_file_atomically(str(tmp_path / "f"), b"x")
    file = disk.open(str(tmp_path / "f"), read_only=True)
    with pytest.raises(OSError):
        file.append(b"y")
    file.close()
    with pytest.raises(OSError):
        file.read_at(0, 1)


def test_a_write_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RealDisk().open(str(tmp_path / "f"), create=True)
    file.append(b"kept")

    def half(fd: int, parts: list[bytes], position: int) -> int:
        if position > 4:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(fd, parts[0][:2], position)

    def full(fd: int, data: bytes, position: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.pwritev", half)
    monkeypatch.setattr("blumfeld.env.disk._pwrite", full)
    with pytest.raises(OSError, match="full"):
        file.append([b"lost", b"too"])
    assert (file.size, os.path.getsize(tmp_path / "f")) == (4, 4)
    file.close()


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the platform has no reads that never wait")
def test_what_was_just_written_is_read_without_waiting(tmp_path: Path) -> None:
    file = RealDisk().open(str(tmp_path / "f"), create=True)
    file.append(bytes(100_000))
    cached = file.read_cached(50_000, 10_000)
    if cached is None:
        pytest.skip("the file system has no reads that never wait")
    assert len(cached) == 10_000
    file.close()


def test_where_the_platform_cannot_tell_a_cached_read_says_it_would_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RealDisk().open(str(tmp_path / "f"), create=True)
    file.append(b"x")
    monkeypatch.setattr("blumfeld.env.disk._NOWAIT", None)
    assert file.read_cached(0, 1) is None
    file.close()
