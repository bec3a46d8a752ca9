"""Snapshot files in Kafka's checkpoint format (KIP-630): `%020d-%010d.checkpoint`, end offset and epoch.

Owns name and contents: a control batch with the header (and, with kraft.version 1, KRaftVersion and Voters), batches of
records with offsets from 0 on, all in the snapshot's epoch, and a control batch with the footer. A file is written as
`….checkpoint.part`, synced, and renamed: one without the suffix is complete. One that was fetched from the leader is
`….checkpoint.fetched` in between: complete, and the log, which ends below it, is to begin anew there.

Must never know what the records mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.cluster.raft.batches import RECORD_VERSION, voter_controls, voters_in
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.recovery import FoundSnapshot
from blumfeld.env import paths
from blumfeld.protocol.batch import PREFIX_SIZE, CorruptBatch, RecordBatch
from blumfeld.protocol.messages.control_records import SnapshotFooterRecord, SnapshotHeaderRecord
from blumfeld.protocol.records import (
    ControlType,
    Record,
    build_batch,
    control_batch,
    read_control_records,
    read_records,
)

if TYPE_CHECKING:
    from blumfeld.cluster.raft.voters import VoterSet
    from blumfeld.env.disk import Disk, File

SUFFIX = ".checkpoint"
PARTIAL = ".part"
FETCHED = ".fetched"
_NAME = re.compile(r"(\d{20})-(\d{10})\.checkpoint(\.part|\.deleted)?")
_RECORDS_IN_BATCH = 1024
_BYTES_IN_BATCH = 1 << 20


def file_name(id_: OffsetAndEpoch) -> str:
    """The name of the complete file."""
    return f"{id_.offset:020d}-{id_.epoch:010d}{SUFFIX}"


def parse_name(name: str) -> tuple[OffsetAndEpoch, bool] | None:
    """(id, whether it is complete) of a checkpoint's name; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return OffsetAndEpoch(int(match[1]), int(match[2])), match[3] is None


class Contents(NamedTuple):
    """What a snapshot is made of."""

    voters: VoterSet
    kraft_version: int
    last_contained_log_timestamp: int
    records: Iterable[bytes]


def write(disk: Disk, directory: str, id_: OffsetAndEpoch, contents: Contents, *, now_ms: int) -> None:
    """Write a snapshot; durable on return. Takes its time: call it in a thread."""
    path = paths.join(directory, file_name(id_))
    try:
        file = disk.open(path + PARTIAL, create=True)
        try:
            file.truncate(0)
            for batch in _batches(id_, contents, now_ms):
                file.append(batch)
            file.sync()
        finally:
            file.close()
        disk.rename(path + PARTIAL, path)
    except Exception:
        with suppress(OSError):  # a disk that is full has no room for half a snapshot
            disk.remove(path + PARTIAL)
        raise
    disk.sync_directory(directory)


def _batches(id_: OffsetAndEpoch, contents: Contents, now_ms: int) -> Iterator[bytes]:
    header = SnapshotHeaderRecord(
        version=RECORD_VERSION, last_contained_log_timestamp=contents.last_contained_log_timestamp
    )
    controls = [(ControlType.SNAPSHOT_HEADER, header.encode(RECORD_VERSION))]
    if contents.kraft_version > 0:
        controls += voter_controls(contents.voters, contents.kraft_version)
    yield control_batch(controls, base_offset=0, timestamp=now_ms, leader_epoch=id_.epoch)
    offset = len(controls)
    pending: list[Record] = []
    size = 0
    for value in contents.records:
        pending.append(Record(offset, now_ms, None, value))
        offset += 1
        size += len(value)
        if len(pending) == _RECORDS_IN_BATCH or size >= _BYTES_IN_BATCH:
            yield build_batch(pending, base_offset=pending[0].offset, leader_epoch=id_.epoch)
            pending, size = [], 0
    if pending:
        yield build_batch(pending, base_offset=pending[0].offset, leader_epoch=id_.epoch)
    footer = SnapshotFooterRecord(version=RECORD_VERSION).encode(RECORD_VERSION)
    yield control_batch(
        [(ControlType.SNAPSHOT_FOOTER, footer)], base_offset=offset, timestamp=now_ms, leader_epoch=id_.epoch
    )


class Checkpoint:
    """A snapshot file, read batch by batch. Serves `listener.Snapshot`."""

    def __init__(self, disk: Disk, path: str, id_: OffsetAndEpoch) -> None:
        """Reads the header. Raises CorruptBatch where the file does not begin as a snapshot, and OSError."""
        self._disk = disk
        self._path = path
        self._id = id_
        first = next(self._raw_batches(), None)
        if first is None or not first.is_control:
            raise CorruptBatch(f"{path} does not begin with a control batch")
        record, kind = read_control_records(first)[0]
        if kind is not ControlType.SNAPSHOT_HEADER:
            raise CorruptBatch(f"{path} does not begin with a snapshot header")
        header = SnapshotHeaderRecord.decode(record.value or b"", RECORD_VERSION)
        self._timestamp = header.last_contained_log_timestamp
        voters, kraft_version = voters_in(first)
        self.found = FoundSnapshot(voters, kraft_version or 0)

    @property
    def id(self) -> OffsetAndEpoch:
        return self._id

    @property
    def last_contained_log_timestamp(self) -> int:
        return self._timestamp

    def batches(self) -> Iterator[Sequence[bytes]]:
        """The records, batch by batch. Raises CorruptBatch, also where the footer is missing."""
        complete = False
        for batch in self._raw_batches():
            if batch.is_control:
                complete = any(kind is ControlType.SNAPSHOT_FOOTER for _, kind in read_control_records(batch))
            else:
                yield [record.value or b"" for record in read_records(batch)]
        if not complete:
            raise CorruptBatch(f"{self._path} has no footer")

    def verify(self) -> None:
        """Read it all. Raises CorruptBatch."""
        for _ in self.batches():
            pass

    def _raw_batches(self) -> Iterator[RecordBatch]:
        file = self._disk.open(self._path, read_only=True)
        try:
            position = 0
            while position < file.size:
                batch = RecordBatch(_read_batch(file, position))
                if not batch.is_valid_crc():
                    raise CorruptBatch(f"{self._path}: {batch!r} has a wrong CRC")
                yield batch
                position += batch.length
        finally:
            file.close()


def _read_batch(file: File, position: int) -> bytes:
    prefix = bytes(file.read_at(position, PREFIX_SIZE))
    length = int.from_bytes(prefix[8:12], "big", signed=True) + PREFIX_SIZE if len(prefix) == PREFIX_SIZE else 0
    if not PREFIX_SIZE < length <= file.size - position:
        raise CorruptBatch(f"{file.path}: no whole batch at {position}")
    return bytes(file.read_at(position, length))


def found_in(disk: Disk, directory: str) -> dict[OffsetAndEpoch, FoundSnapshot]:
    """The complete snapshots in `directory`; partial ones and leftovers are removed.

    Only the newest, and 0-0, are opened: the others' contents are reported as unknown. Raises CorruptBatch, OSError.
    """
    found: dict[OffsetAndEpoch, FoundSnapshot] = {}
    for name in disk.list(directory):
        parsed = parse_name(name)
        if parsed is not None and parsed[1]:
            found[parsed[0]] = FoundSnapshot(None, 0)
        elif parsed is not None:
            disk.remove(paths.join(directory, name))
    for id_ in {OffsetAndEpoch(0, 0), max(found, default=OffsetAndEpoch(0, 0))} & found.keys():
        found[id_] = Checkpoint(disk, paths.join(directory, file_name(id_)), id_).found
    return found


def fetched_in(disk: Disk, directory: str) -> OffsetAndEpoch | None:
    """The snapshot at which the log is to begin anew: the replica stopped before it did."""
    fetched = [parse_name(n.removesuffix(FETCHED)) for n in disk.list(directory) if n.endswith(FETCHED)]
    return max((parsed[0] for parsed in fetched if parsed is not None), default=None)
