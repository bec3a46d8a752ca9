"""Log directories of a broker: identity, locks, those that fail, and partitions that are out of reach with them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.env.disk import Disk, RealDisk
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.storage import checkpoint
from blumfeld.storage.data_directory import DataDirectory
from blumfeld.storage.errors import StorageError
from blumfeld.storage.loading import load_directory
from blumfeld.storage.log_config import LogConfig
from tests.storage.office import CLUSTER, ID_A, ID_B, Office, everything, fill


@pytest.fixture
def office(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[Office]:
    office = Office(disk, clock, f"{tmp_path}/a")
    yield office
    office.release()


@pytest.fixture
def two(disk: Disk, clock: ManualClock, tmp_path: Path) -> Iterator[Office]:
    office = Office(disk, clock, f"{tmp_path}/a", f"{tmp_path}/b")
    yield office
    office.release()


def test_a_fresh_directory_becomes_ours(office: Office) -> None:
    office.open()
    properties = office.file("meta.properties")
    assert f"cluster.id={CLUSTER}\n" in properties
    assert "node.id=1\n" in properties
    assert "version=1\n" in properties
    assert "directory.id=" in properties
    assert office.manager.clean_shutdown_broker_epoch == -1
    (directory_id,) = office.manager.directory_ids()
    assert office.kill().directory_ids() == [directory_id]


def test_a_second_broker_on_the_directory_is_told_what_to_do(office: Office) -> None:
    office.open()
    before = office.disk.list(office.roots[0])
    other = Office(office.disk, office.clock, *office.roots)
    with pytest.raises(StorageError, match=r"in use by another process.*log\.dirs"):
        other.open()
    assert office.disk.list(office.roots[0]) == before
    office.release()
    other.open()
    other.release()


@pytest.mark.parametrize(
    ("identity", "text"),
    [({"cluster_id": "another"}, f"belongs to cluster.id {CLUSTER}"), ({"node_id": 2}, "belongs to node.id 1")],
)
def test_the_directory_of_another_cluster_or_node_is_refused(
    office: Office, identity: dict[str, Any], text: str
) -> None:
    fill(office.manager.create("t", 0, ID_A), clock=office.clock)
    office.release()
    before = office.file("meta.properties")
    with pytest.raises(StorageError, match=text):
        office.open(**identity)
    assert office.file("meta.properties") == before
    log = office.open().get("t", 0)
    assert log is not None
    assert log.log_end_offset == 3


def test_an_older_kafkas_identity_is_taken_over(office: Office) -> None:
    office.disk.make_directories(office.roots[0])
    text = f"#\n#Mon Nov 23 09:50:09 UTC 2026\nversion=0\nbroker.id=1\ncluster.id={CLUSTER}\n"
    office.disk.write_file_atomically(f"{office.roots[0]}/meta.properties", text.encode())
    office.open()
    assert "node.id=1\n" in office.file("meta.properties")
    assert "broker.id" not in office.file("meta.properties")


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write anywhere")
def test_a_read_only_directory(clock: ManualClock, tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    root.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="cannot be used"):
            Office(RealDisk(), clock, str(root)).open()
    finally:
        root.chmod(0o755)


def test_a_directory_that_fails_is_offline_while_there_is_another(clock: ManualClock) -> None:
    disk = FaultyDisk(1)
    disk.inject(30, operation="lock", path="/a", times=None)  # EROFS
    alone = Office(disk, clock, "/a")
    with pytest.raises(StorageError, match=r"cannot be used.*log\.dirs"):
        alone.open()
    both = Office(disk, clock, "/a", "/b")
    both.open()
    assert len(both.manager.directory_ids()) == 1
    assert both.manager.create("t", 0, ID_A).directory == "/b/t-0"
    both.release()
    assert disk.open_handles() == []


def test_no_empty_log_takes_the_place_of_one_that_is_out_of_reach(clock: ManualClock) -> None:
    disk = FaultyDisk(1)
    both = Office(disk, clock, "/a", "/b")
    _, second = both.manager.directory_ids()
    fill(both.manager.create("t", 0, ID_A, directory_id=second), clock=clock)
    both.manager.close(7)
    disk.inject(30, operation="lock", path="/b", times=1)  # EROFS
    both.open()
    assert both.manager.offline_directory_ids() == [second]
    for directory_id in (second, bytes([9]) * 16, None):
        with pytest.raises(StorageError, match="offline"):
            both.manager.create("t", 0, ID_A, directory_id=directory_id, holds_data=True)
    with pytest.raises(StorageError, match="offline"):
        both.manager.create("t", 0, ID_A, directory_id=second)
    assert both.manager.create("new", 0, ID_B).directory == "/a/new-0"
    both.manager.close(8)
    both.open()
    assert everything(both.manager.create("t", 0, ID_A, directory_id=second, holds_data=True)) == [0, 1, 2]
    both.release()


def test_a_log_in_a_directory_that_is_not_configured_any_more_is_not_made_anew(two: Office) -> None:
    elsewhere = bytes([9]) * 16
    with pytest.raises(StorageError, match=r"not among log\.dirs"):
        two.manager.create("t", 0, ID_A, directory_id=elsewhere, holds_data=True)
    assert two.manager.create("t", 0, ID_A, directory_id=elsewhere).log_end_offset == 0  # others have its data


def test_copies_of_a_directory_are_refused(two: Office) -> None:
    two.open()
    two.release()
    properties = two.disk.read_file(f"{two.roots[0]}/meta.properties")
    two.disk.write_file_atomically(f"{two.roots[1]}/meta.properties", properties)
    with pytest.raises(StorageError, match="one is a copy"):
        two.open()


class SlowDisk:
    """A disk whose data files take a while to read."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def open(self, path: str, **options: Any) -> Any:
        file = self._disk.open(path, **options)
        return _SlowFile(file) if path.endswith(".log") else file


class _SlowFile:
    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read_at(self, position: int, size: int) -> Any:
        sleep(0.02)
        return self._file.read_at(position, size)


def test_more_threads_than_files_may_be_open_take_none_from_each_other(clock: ManualClock, tmp_path: Path) -> None:
    office = Office(RealDisk(), clock, f"{tmp_path}/a")
    for partition in range(8):
        fill(office.manager.create("t", partition, ID_A), clock=clock)
    office.release()
    home = DataDirectory(f"{tmp_path}/a", SlowDisk(RealDisk()), clock, max_open_files=2)
    home.take(CLUSTER, 1, SeededEntropy(1))
    logs = load_directory(home, LogConfig(), 8)
    assert [log.log_end_offset for log in logs] == [3] * 8
    assert (home.error, len(home.open_files)) == (None, 0)
    home.leave()


@pytest.mark.parametrize("seed", range(20))
def test_a_checkpoint_that_a_start_has_read_outlives_a_crash(clock: ManualClock, seed: int) -> None:
    """A process that could not sync the name of its last checkpoint ends, the next reads it; then the power goes."""
    disk = FaultyDisk(seed)

    def start() -> DataDirectory:
        home = DataDirectory("/a", disk, clock)
        home.take(CLUSTER, 1, SeededEntropy(seed))
        return home

    home = start()
    home.write_checkpoint(checkpoint.LOG_START_OFFSETS, {("t", 0): 3})
    disk.inject(errno.EIO, operation="sync_directory")
    with pytest.raises(OSError, match="/a"):
        home.write_checkpoint(checkpoint.LOG_START_OFFSETS, {("t", 0): 5})
    disk.kill()
    assert start().written[checkpoint.LOG_START_OFFSETS] == {("t", 0): 5}
    disk.crash()
    assert start().written[checkpoint.LOG_START_OFFSETS] == {("t", 0): 5}
