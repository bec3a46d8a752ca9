"""The faulty disk: what a crash may take and what it may not, faults on command, leaks seen."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from blumfeld.env.faulty_disk import SECTOR, FaultyDisk, PowerCut

_SEEDS = range(300)


def outcomes(story: Callable[[FaultyDisk], None], path: str) -> set[bytes | None]:
    """What `path` may hold after the story and a crash, over many seeds; None where it is gone."""
    found: set[bytes | None] = set()
    for seed in _SEEDS:
        disk = FaultyDisk(seed)
        story(disk)
        disk.crash()
        found.add(disk.read_file(path) if disk.exists(path) else None)
    return found


def durable_file(disk: FaultyDisk, data: bytes = b"") -> None:
    """A file `f` whose name and contents are on the device."""
    file = disk.open("f", create=True)
    file.append(data)
    file.sync()
    disk.sync_directory("")


def test_what_was_synced_survives_every_crash() -> None:
    assert outcomes(lambda disk: durable_file(disk, b"kept"), "f") == {b"kept"}


def test_a_name_without_a_directory_sync_may_be_lost() -> None:
    def story(disk: FaultyDisk) -> None:
        file = disk.open("f", create=True)
        file.append(b"x")
        file.sync()

    assert outcomes(story, "f") == {b"x", None}


def test_an_unsynced_append_may_be_lost_kept_or_leave_zeros() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"old")
        disk.open("f").append(b"new")

    assert outcomes(story, "f") == {b"old", b"oldnew", b"old\0\0\0"}


def test_a_write_is_torn_between_sectors_and_never_within_one() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"o" * 4 * SECTOR)
        disk.open("f").write_at(0, b"n" * 4 * SECTOR)

    found = outcomes(story, "f")
    assert b"o" * 4 * SECTOR in found
    assert b"n" * 4 * SECTOR in found
    assert len(found) == 16  # every combination of four sectors
    for content in found:
        assert content is not None
        assert all(len(set(content[i : i + SECTOR])) == 1 for i in range(0, 4 * SECTOR, SECTOR))


def test_a_later_write_may_survive_an_earlier_one_elsewhere() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"o" * 2 * SECTOR)
        file = disk.open("f")
        file.write_at(0, b"1")
        file.write_at(SECTOR, b"2")

    firsts = {(content[:1], content[SECTOR : SECTOR + 1]) for content in outcomes(story, "f") if content}
    assert firsts == {(b"o", b"o"), (b"1", b"o"), (b"o", b"2"), (b"1", b"2")}


def test_a_sector_is_what_it_was_at_some_moment() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"ab")
        file = disk.open("f")
        file.write_at(0, b"A")
        file.write_at(1, b"B")

    assert outcomes(story, "f") == {b"ab", b"Ab", b"AB"}


def test_a_truncation_is_one_step() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"one two")
        file = disk.open("f")
        file.truncate(4)
        file.append(b"2")

    assert outcomes(story, "f") == {b"one two", b"one ", b"one 2", b"one \0"}


def test_preallocated_room_survives_as_zeros_or_not_at_all() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk)
        disk.open("f").preallocate(5)

    assert outcomes(story, "f") == {b"", bytes(5)}


def test_a_rename_happens_wholly_or_not_at_all() -> None:
    kinds = set()
    for seed in _SEEDS:
        disk = FaultyDisk(seed)
        disk.write_file_atomically("f", b"old")
        disk.write_file_atomically("f", b"new", sync=False)
        disk.crash()
        kinds.add((disk.read_file("f"), disk.exists("f.tmp")))
    assert (b"old", False) in kinds
    assert (b"new", False) in kinds
    assert (b"old", True) in kinds
    assert not any(content not in (b"old", b"new", b"", bytes(3)) for content, _ in kinds)
    assert (b"", False) in kinds  # the name became durable before the contents: why atomic files are synced first


def test_a_synced_atomic_file_is_there_after_every_crash() -> None:
    def story(disk: FaultyDisk) -> None:
        disk.write_file_atomically("f", b"old")
        disk.write_file_atomically("f", b"new")

    assert outcomes(story, "f") == {b"new"}


def test_a_removal_without_a_directory_sync_may_be_undone_with_its_contents() -> None:
    def story(disk: FaultyDisk) -> None:
        durable_file(disk, b"x")
        disk.remove("f")

    assert outcomes(story, "f") == {b"x", None}


def test_changes_of_one_name_keep_their_order() -> None:
    seen = set()
    for seed in _SEEDS:
        disk = FaultyDisk(seed)
        for name in "ab":
            disk.write_file_atomically(name, name.encode())
        disk.rename("a", "c")
        disk.rename("b", "a")
        disk.crash()
        seen.add(tuple((name, disk.read_file(name)) for name in disk.list("")))
    assert seen == {
        (("a", b"a"), ("b", b"b")),
        (("b", b"b"), ("c", b"a")),
        (("a", b"b"), ("c", b"a")),
    }


def test_changes_of_different_names_may_survive_in_any_order_but_only_in_some_seeds() -> None:
    seen = set()
    for seed in _SEEDS:
        disk = FaultyDisk(seed)
        disk.open("a", create=True)
        disk.open("b", create=True)
        disk.crash()
        seen.add(tuple(disk.list("")))
    assert seen == {(), ("a",), ("b",), ("a", "b")}


def test_a_directory_sync_covers_its_names_and_what_they_depend_on() -> None:
    for seed in range(50):
        disk = FaultyDisk(seed)
        disk.make_directories("t-0")
        disk.sync_directory("")
        disk.open("t-0/f", create=True)
        disk.open("other", create=True)
        disk.rename("t-0/f", "t-0/g")
        disk.sync_directory("t-0")
        disk.crash()
        assert disk.list("t-0") == ["g"]


def test_a_new_directory_is_lost_with_everything_in_it() -> None:
    lost = 0
    for seed in _SEEDS:
        disk = FaultyDisk(seed)
        disk.make_directories("t-0")
        disk.open("t-0/f", create=True)
        disk.sync_directory("t-0")
        disk.crash()
        assert not disk.exists("t-0") or disk.list("t-0") == ["f"]
        lost += not disk.exists("t-0")
    assert 0 < lost < len(_SEEDS)


def test_the_end_of_the_process_alone_loses_nothing_but_handles_and_locks() -> None:
    disk = FaultyDisk(0)
    file = disk.open("f", create=True)
    file.append(b"written, not synced")
    disk.lock(".lock")
    disk.kill()
    assert disk.read_file("f") == b"written, not synced"
    disk.lock(".lock").release()
    for use in (lambda: file.append(b"x"), lambda: file.read_at(0, 1), file.sync, lambda: file.truncate(0)):
        with pytest.raises(OSError) as stale:
            use()
        assert stale.value.errno == errno.EBADF
    file.close()


def test_several_crashes_build_on_one_another() -> None:
    for seed in range(100):
        disk = FaultyDisk(seed)
        durable_file(disk, b"0")
        for round_number in range(1, 5):
            file = disk.open("f")
            file.append(str(round_number).encode())
            file.sync()
            file.append(b"?")
            disk.crash()
            again = disk.open("f")
            again.truncate(round_number + 1)
            again.sync()
        assert disk.read_file("f") == b"01234"


def test_the_same_seed_crashes_the_same_way() -> None:
    def story(seed: int) -> list[tuple[str, bytes]]:
        disk = FaultyDisk(seed)
        for number in range(20):
            file = disk.open(f"f{number % 7}", create=True)
            file.append(bytes([number]) * 2_000)
            if number % 3 == 0:
                file.sync()
        disk.crash()
        return [(name, disk.read_file(name)) for name in disk.list("")]

    assert story(3) == story(3)
    assert len({repr(story(seed)) for seed in range(10)}) > 5


def test_errors_are_injected_by_operation_path_and_count() -> None:
    disk = FaultyDisk(0)
    log, index = disk.open("0.log", create=True), disk.open("0.index", create=True)
    fault = disk.inject(errno.ENOSPC, "append", ".log", after=1, times=2)
    log.append(b"1")
    index.append(b"1")
    for _ in range(2):
        with pytest.raises(OSError) as full:
            log.append(b"2")
        assert (full.value.errno, full.value.filename) == (errno.ENOSPC, "0.log")
    log.append(b"3")
    assert (disk.read_file("0.log"), fault.hits) == (b"13", 2)
    broken = disk.inject(errno.EIO, times=None)
    for call in (log.sync, lambda: disk.rename("0.log", "x"), lambda: disk.list(""), lambda: log.read_at(0, 1)):
        with pytest.raises(OSError) as error:
            call()
        assert error.value.errno == errno.EIO
    disk.recover(broken)
    log.sync()
    disk.inject(errno.EIO)
    disk.recover()
    log.sync()


def test_a_silent_fault_forgets_a_sync() -> None:
    lost = 0
    for seed in range(100):
        disk = FaultyDisk(seed)
        durable_file(disk)
        disk.inject(None, "sync", times=None)
        file = disk.open("f")
        file.append(b"acknowledged")
        file.sync()
        disk.crash()
        lost += disk.read_file("f") != b"acknowledged"
    assert lost > 30


def test_the_power_may_go_in_the_middle_and_stays_away_until_the_crash() -> None:
    disk = FaultyDisk(0)
    durable_file(disk, b"old")
    file = disk.open("f")
    disk.cut_power_after(1)
    file.append(b"1")
    for call in (lambda: file.append(b"2"), file.sync, lambda: disk.list("")):
        with pytest.raises(PowerCut):
            call()
    file.close()
    disk.crash()
    assert disk.read_file("f") in (b"old", b"old1", b"old\0")


def test_a_disk_that_is_nearly_full_takes_what_fits() -> None:
    disk = FaultyDisk(0)
    file = disk.open("f", create=True)
    disk.max_free_bytes = 10
    file.append(bytes(8))
    with pytest.raises(OSError, match="No space"):
        file.append(bytes(3))
    assert (disk.free_bytes(""), file.size) == (2, 8)


def test_open_handles_are_seen() -> None:
    disk = FaultyDisk(0)
    first, second = disk.open("b", create=True), disk.open("a", create=True)
    assert disk.open_handles() == ["a", "b"]
    first.close()
    assert disk.open_handles() == ["a"]
    second.close()
    assert disk.open_handles() == []


def test_cached_reads_may_have_to_wait() -> None:
    disk = FaultyDisk(0, cold=0.5)
    file = disk.open("f", create=True)
    file.append(b"x")
    answers = [file.read_cached(0, 1) for _ in range(100)]
    assert 20 < answers.count(None) < 80
    assert all(answer in (None, b"x") for answer in answers)
