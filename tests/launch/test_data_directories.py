"""Data directories that are full, read-only, taken, of somebody else, or damaged, as a user meets them.

What cannot be started says in its last line what is wrong and what to do, exits with 1, and has changed nothing; what
fails while it serves loses nothing that was acknowledged.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blumfeld.client.errors import ClientError
from tests.launch.brokers import Running, contents, refused, running
from tests.launch.mounts import Mounts

BALLAST = 1_000_000
EXIT_FAULT = 70


@contextmanager
def small_disk(directory: Path, size: str = "3m") -> Iterator[Mounts]:
    """A file system of that size at `directory`."""
    directory.mkdir()
    with Mounts(f"mount -t tmpfs -o size={size} tmpfs '{directory}'") as mounts:
        yield mounts


def read_only(directory: Path) -> Mounts:
    """`directory` as it is, but nobody may write there."""
    return Mounts(f"mount --bind '{directory}' '{directory}'\nmount -o remount,bind,ro '{directory}'")


def kept(root: Path) -> Path:
    """A data directory that a broker has left, with a record in it."""
    data = root / "data"
    with running(root, "--data", str(data)) as broker:
        broker.kafka.topic("t")
        broker.kafka.produce("t", b"kept")
    return data


def assert_serves(data: Path, root: Path, *values: bytes) -> None:
    with running(root, "--data", str(data)) as broker:
        assert [record.value for record in broker.kafka.consume("t")] == list(values)


# What cannot be started.


def test_a_second_process_on_a_directory_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path, "--data", str(data)) as broker:
        broker.kafka.topic("t")
        before = (data / "cluster.json").read_bytes()
        said = refused("--data", str(data), "--port", "29092")
        assert "is running already" in said
        assert "stop it first, or choose another --data" in said
        said = refused("--plan", str(data / "cluster.json"), "--node", "1")
        assert f"log directory {data}/1 is in use by another process" in said
        assert "Stop that broker first" in said
        assert (data / "cluster.json").read_bytes() == before
        broker.kafka.produce("t", b"still here")
    assert_serves(data, tmp_path, b"still here")


@pytest.mark.parametrize("name", ["cluster.id", "node.id"])
def test_a_directory_of_another_cluster_or_node_is_refused(tmp_path: Path, name: str) -> None:
    data = kept(tmp_path)
    properties = data / "1" / "meta.properties"
    ours = properties.read_text()
    value = next(line.partition("=")[2] for line in ours.splitlines() if line.startswith(name))
    other = "7" if name == "node.id" else "x" * 22
    properties.write_text(ours.replace(f"{name}={value}", f"{name}={other}"))
    before = contents(data)
    said = refused("--data", str(data))
    assert (
        f"{properties} says that log directory {data}/1 belongs to {name} {other}, but this is {name} {value}" in said
    )
    assert "name another directory in log.dirs; nothing was changed" in said
    assert contents(data) == before
    properties.write_text(ours)
    assert_serves(data, tmp_path, b"kept")


@pytest.mark.parametrize("part", ["", "1", "1/__cluster_metadata-0"])
def test_a_read_only_directory_is_refused(tmp_path: Path, part: str) -> None:
    data = kept(tmp_path)
    before = contents(data, leave_out=(".lock", ".kafka_cleanshutdown"))
    with read_only(data / part) as mounts:
        said = refused("--data", str(data), mounts=mounts)
    assert "Read-only file system" in said
    assert contents(data, leave_out=(".lock", ".kafka_cleanshutdown")) == before
    assert_serves(data, tmp_path, b"kept")


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1").write_text("mine")
    said = refused("--data", str(tmp_path / "data"))
    assert f"{tmp_path}/data/1" in said
    assert "move it away" in said
    assert (tmp_path / "data" / "1").read_text() == "mine"


@pytest.mark.parametrize("size", ["4k", "20k", "24k"])
def test_a_disk_without_room_for_a_new_broker_is_refused(tmp_path: Path, size: str) -> None:
    with small_disk(tmp_path / "disk", size) as mounts:
        said = refused("--data", str(tmp_path / "disk"), "--port", "0", mounts=mounts)
    assert "No space left on device" in said.splitlines()[-1]
    assert f"{tmp_path}/disk" in said.splitlines()[-1]


def test_a_full_disk_keeps_a_broker_from_starting_and_nothing_is_lost(tmp_path: Path) -> None:
    data = kept(tmp_path)
    with small_disk(tmp_path / "disk") as mounts:
        inside = mounts.path(tmp_path / "disk")
        shutil.copytree(data, inside / "data")
        fill(inside / "ballast")
        said = refused("--data", str(tmp_path / "disk" / "data"), mounts=mounts)
        assert "No space left on device" in said
        (inside / "ballast").unlink()
        with running(tmp_path, "--data", str(tmp_path / "disk" / "data"), mounts=mounts) as broker:
            assert [record.value for record in broker.kafka.consume("t")] == [b"kept"]


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while ballast.write(bytes(size)):
                    pass
            except OSError:
                continue


def test_a_metadata_log_that_does_not_read_is_refused(tmp_path: Path) -> None:
    data = kept(tmp_path)
    state = data / "1" / "__cluster_metadata-0" / "quorum-state"
    good = state.read_bytes()
    state.write_text("no election")
    said = refused("--data", str(data))
    assert f"the metadata log in {state.parent} cannot be used: quorum-state does not read" in said
    assert "put that directory back from a backup" in said
    state.write_bytes(good)
    assert_serves(data, tmp_path, b"kept")


# What fails while it serves.


def produce_until_full(broker: Running, topic: str, partition: int) -> int:
    """How many records were acknowledged; what was refused may be there as well."""
    acknowledged = 0
    with broker.impatient() as kafka:
        for count in range(10_000):
            try:
                kafka.produce(topic, b"%d" % count * 1_000, partition=partition)
                acknowledged += 1
            except ClientError:
                if "No space left on device" in broker.said:
                    return acknowledged
    raise AssertionError("the disk is larger than that")


def test_a_disk_that_fills_up_stops_the_broker_and_everything_acknowledged_is_there_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as mounts:
        ballast = mounts.path(tmp_path / "disk") / "ballast"
        ballast.write_bytes(bytes(BALLAST))
        data = ("--data", str(tmp_path / "disk" / "data"))
        with running(tmp_path, *data, mounts=mounts) as broker:
            broker.kafka.topic("t")
            acknowledged = produce_until_full(broker, "t", 0)
            assert broker.process.wait(60) == EXIT_FAULT
        said = broker.said
        assert "No space left on device" in said
        assert "all log directories are offline" in said
        assert "repair them, and start the broker again" in said
        assert "Traceback" not in said
        ballast.unlink()
        with running(tmp_path, *data, mounts=mounts) as broker:
            assert len(broker.kafka.consume("t")) >= acknowledged > 10
            broker.kafka.produce("t", b"there is room again")


def two_directories(root: Path, second: Path) -> tuple[str, ...]:
    return ("--data", str(root / "data"), "--port", "0", "--set", f"log.dirs={root}/first,{second}")


def partitions_in(directory: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in directory.glob("t-*"))


def leaderless(broker: Running) -> list[int]:
    return [partition for partition, leader in broker.kafka.leaders("t").items() if leader < 0]


def test_a_directory_that_fails_goes_offline_and_the_rest_serves(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as mounts:
        second = tmp_path / "disk" / "logs"
        ballast = mounts.path(tmp_path / "disk") / "ballast"
        ballast.write_bytes(bytes(BALLAST))
        arguments = two_directories(tmp_path, second)
        with running(tmp_path, *arguments, mounts=mounts) as broker:
            broker.kafka.topic("t", partitions=4)
            lost = partitions_in(mounts.path(second))
            assert len(lost) == 2
            acknowledged = produce_until_full(broker, "t", lost[0])
            broker.kafka.wait_until(lambda: sorted(leaderless(broker)) == lost, f"{lost} have no leader")
            for partition in {0, 1, 2, 3} - set(lost):
                broker.kafka.produce("t", b"the rest serves", partition=partition)
                [record] = broker.kafka.consume("t", partition=partition)
                assert record.value == b"the rest serves"
        said = broker.said
        assert f"log directory {second} is offline" in said
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert broker.process.exit_code == 0
        ballast.unlink()
        with running(tmp_path, *arguments, mounts=mounts) as broker:
            broker.kafka.wait_until(lambda: leaderless(broker) == [], "all have leaders again")
            assert len(broker.kafka.consume("t", partition=lost[0])) >= acknowledged > 10
            assert len(broker.kafka.consume("t")) >= acknowledged + 2


def test_a_directory_that_cannot_be_opened_is_offline_and_the_rest_serves(tmp_path: Path) -> None:
    arguments = two_directories(tmp_path, tmp_path / "second")
    with running(tmp_path, *arguments) as broker:
        broker.kafka.topic("t", partitions=4)
        for partition in range(4):
            broker.kafka.produce("t", b"kept", partition=partition)
    lost = partitions_in(tmp_path / "second")
    assert len(lost) == 2
    with read_only(tmp_path / "second") as mounts, running(tmp_path, *arguments, mounts=mounts) as broker:
        assert f"log directory {tmp_path}/second is offline" in broker.said
        broker.kafka.wait_until(lambda: sorted(leaderless(broker)) == lost, f"{lost} have no leader")
        for partition in {0, 1, 2, 3} - set(lost):
            assert [record.value for record in broker.kafka.consume("t", partition=partition)] == [b"kept"]
    with running(tmp_path, *arguments) as broker:
        broker.kafka.wait_until(lambda: leaderless(broker) == [], "all have leaders again")
        assert [record.value for record in broker.kafka.consume("t")] == [b"kept"] * 4


def test_a_voter_whose_first_directory_is_offline_votes_on_by_a_metadata_log_elsewhere(tmp_path: Path) -> None:
    arguments = [*two_directories(tmp_path, tmp_path / "second"), "--set", f"metadata.log.dir={tmp_path}/metadata"]
    first = tmp_path / "first"
    with running(tmp_path, *arguments) as broker:
        broker.kafka.topic("t", partitions=4)
    lost = partitions_in(first)
    assert len(lost) == 2
    with read_only(first) as mounts, running(tmp_path, *arguments, mounts=mounts) as broker:
        assert f"log directory {first} is offline" in broker.said
        broker.kafka.wait_until(lambda: sorted(leaderless(broker)) == lost, f"{lost} have no leader")
    (first / "meta.properties").write_text("version=1")
    with read_only(first) as mounts:
        assert f"{first} says who this controller is, and cannot be read" in refused(*arguments, mounts=mounts)


def test_damage_in_flushed_data_takes_the_partition_offline_until_a_human_decides(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path, "--data", str(data)) as broker:
        for topic in ("t", "sound"):
            broker.kafka.topic(topic, config={"segment.bytes": "1048576"})
            for number in range(30):
                broker.kafka.produce(topic, b"%d" % number * 50_000)
    log = max((data / "1" / "t-0").glob("*.log"))
    good = log.read_bytes()
    log.write_bytes(good[:10_000] + b"damage" + good[10_006:])
    damaged = log.read_bytes()
    for _ in range(2):  # and stays so over restarts
        (data / "1" / ".kafka_cleanshutdown").unlink(missing_ok=True)
        with running(tmp_path, "--data", str(data)) as broker:
            said = broker.said
            assert str(log) in said
            assert "Traceback" not in said
            assert len(broker.kafka.consume("sound")) == 30
            broker.kafka.wait_until(lambda: leaderless(broker) == [0], "the damaged one has no leader")
            with broker.impatient() as kafka, pytest.raises(ClientError):
                kafka.produce("t", b"more")
        assert log.read_bytes() == damaged
    log.write_bytes(good)
    with running(tmp_path, "--data", str(data)) as broker:
        broker.kafka.wait_until(lambda: leaderless(broker) == [], "it has a leader again")
        assert len(broker.kafka.consume("t")) == 30
