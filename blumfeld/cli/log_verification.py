"""Verifying log files: every file against itself, and all of a directory against each other.

Owns what a sound log directory looks like. Reads everything, opens every batch, changes nothing. What is found comes as
`Problem`s; a file that is merely unneeded (left over from a deletion) is none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from blumfeld.cli.log_files import Item, Unreadable, base_offset_of, read, suffix_of
from blumfeld.env import paths
from blumfeld.env.disk import RealDisk
from blumfeld.protocol.batch import CorruptBatch, RecordBatch
from blumfeld.protocol.primitives import uuid_from_text
from blumfeld.protocol.records import ControlType, control_type, read_records
from blumfeld.storage import checkpoint
from blumfeld.storage.producers import ProducerStates, replay
from blumfeld.storage.scan import BadBatch, scan

_DATA, _SNAPSHOT = ".log", ".checkpoint"
_UNNEEDED = (".deleted", ".cleaned", ".part")
"""What is left over from a deletion, a compaction or a snapshot that did not come to its end: the next start removes
it."""
_MAX_UNPACKED_BYTES = 256 << 20


class Problem(NamedTuple):
    """What is wrong with a file."""

    path: str
    what: str


class Segment:
    """What was found in one data file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.base_offset = base_offset_of(path)
        self.end_offset = self.base_offset
        self.starts: dict[int, int] = {}
        """Position → last offset of the batches."""
        self.largest: dict[int, int] = {}
        """Last offset of a batch → largest timestamp up to it."""
        self.epochs: list[tuple[int, int]] = []
        """(epoch, base offset) where a new leader epoch begins."""
        self.aborted: list[tuple[int, int, int]] = []
        self.aborting: set[tuple[int, int]] = set()
        """(producer id, offset) of the markers that abort a transaction."""
        self.has_gaps = False
        """Whether offsets are missing within it, as compaction leaves it."""
        self.is_whole = False
        """Whether it could be read up to its end."""


Read = Callable[[int], object]
"""Called with the size of each batch that was read."""


def verify(given: Sequence[str], on_read: Read) -> Iterator[Problem]:
    """Problems of the given files and directories. A directory is verified as a whole, and what is below it too."""
    disk = RealDisk()
    for path in given:
        if disk.is_directory(path):
            yield from _verify_directory(disk, path, on_read)
        elif suffix_of(path) == _DATA:
            yield from _verify_data(Segment(path), ProducerStates(), on_read)
        else:
            yield from _verify_alone(path)


def data_bytes(given: Sequence[str]) -> int:
    """The size of all data files that `verify` would read."""
    disk = RealDisk()
    total = 0
    for path in given:
        if disk.is_directory(path):
            total += data_bytes([paths.join(path, name) for name in disk.list(path) if not name.endswith(_UNNEEDED)])
        elif suffix_of(path) == _DATA:
            total += disk.size(path)
    return total


def _verify_alone(path: str) -> Iterator[Problem]:
    if path.endswith(_UNNEEDED):
        return
    is_snapshot = suffix_of(path) == _SNAPSHOT
    try:
        entries = list(read(path, records=is_snapshot))
    except (Unreadable, OSError) as error:
        yield Problem(path, str(error).removeprefix(f"{path}: "))
        return
    if is_snapshot:
        yield from _verify_metadata_snapshot(path, entries)
    if suffix_of(path) == checkpoint.META_PROPERTIES:
        yield from _verify_identity(path)
    for first, second in pairwise(entries):
        if first["kind"] in ("index entry", "time entry") and not _ascend(first, second):
            yield Problem(path, f"entries do not ascend: {_short(first)}, {_short(second)}")
    for item in entries:
        if item["kind"] == "damage":
            yield Problem(path, f"at byte {item['position']}: {item['reason']}")


def _verify_metadata_snapshot(path: str, entries: list[Item]) -> Iterator[Problem]:
    """A snapshot of the metadata log: sound batches between a header and a footer."""
    for item in entries:
        if item["kind"] == "batch" and not item["valid"]:
            yield Problem(path, f"batch {item['base_offset']} at byte {item['position']}: the CRC does not fit")
    told = [item.get("means", "") for item in entries if item["kind"] == "record"]
    if not told or not told[0].startswith(ControlType.SNAPSHOT_HEADER.name):
        yield Problem(path, "it does not begin with a snapshot's header")
    if not told or not told[-1].startswith(ControlType.SNAPSHOT_FOOTER.name):
        yield Problem(path, "it does not end with a snapshot's footer")


def _verify_identity(path: str) -> Iterator[Problem]:
    values = checkpoint.decode_properties(RealDisk().read_file(path))
    node_id = values.get("node.id", values.get("broker.id", ""))
    if not node_id.isdigit():
        yield Problem(path, f"node.id {node_id!r} is no node's id")
    try:
        uuid_from_text(values.get("directory.id", ""))
    except ValueError as error:
        if "directory.id" in values:
            yield Problem(path, f"directory.id {values['directory.id']!r} is no id: {error}")


def _ascend(first: Item, second: Item) -> bool:
    if first["kind"] == "index entry":
        return bool(first["offset"] < second["offset"] and first["position"] < second["position"])
    return bool(first["timestamp"] < second["timestamp"] and first["offset"] <= second["offset"])


def _short(item: Item) -> str:
    return ", ".join(f"{name} {value}" for name, value in item.items() if name != "kind")


def _verify_directory(disk: RealDisk, directory: str, on_read: Read) -> Generator[Problem, None, int | None]:
    """What is wrong there and below; returns where the log in it ends, None if it holds none."""
    names = disk.list(directory)
    ends: dict[str, int] = {}
    data = sorted(name for name in names if name.endswith(_DATA) and name[:20].isdigit())
    for name in names:
        path = paths.join(directory, name)
        if disk.is_directory(path):
            end = yield from _verify_directory(disk, path, on_read)
            if end is not None:
                ends[name] = end
        elif name not in data and not name.endswith(_UNNEEDED):
            try:
                next(read(path), None)
            except Unreadable as error:
                if "is none of the files" not in str(error):
                    yield Problem(path, str(error).removeprefix(f"{path}: "))
                continue
            yield from _verify_alone(path)
    yield from _verify_claims(disk, directory, ends)
    if not data:
        return None
    states = ProducerStates(base_offset_of(data[0]))
    segments: list[Segment] = []
    for name in data:
        segment = Segment(paths.join(directory, name))
        if segments and segment.base_offset < segments[-1].end_offset:
            yield Problem(segment.path, f"it begins below offset {segments[-1].end_offset}, where {data[0]} … end")
        segments.append(segment)
        yield from _verify_snapshot(disk, directory, segment.base_offset, states, complete=segments[0].base_offset == 0)
        yield from _verify_data(segment, states, on_read)
        yield from _verify_indexes(disk, segment)
    complete = segments[0].base_offset == 0
    yield from _verify_snapshot(disk, directory, segments[-1].end_offset, states, complete=complete)
    yield from _verify_epochs(disk, directory, segments)
    yield from _verify_gaps(disk, directory, segments)
    return segments[-1].end_offset


def _verify_gaps(disk: RealDisk, directory: str, segments: list[Segment]) -> Iterator[Problem]:
    """In a log that was never compacted each data file begins where the one before it ends."""
    name = paths.name(directory)
    compacted = _items(disk, paths.join(paths.parent(directory), checkpoint.CLEANER_OFFSETS))
    if any(segment.has_gaps for segment in segments):
        return
    if any(f"{item['topic']}-{item['partition']}" == name for item in compacted):
        return
    for before, after in pairwise(segments):
        if before.is_whole and before.end_offset < after.base_offset:
            missing = f"offsets {before.end_offset} to {after.base_offset - 1}"
            yield Problem(after.path, f"{missing} are missing before it: is a data file gone?")


def _verify_claims(disk: RealDisk, directory: str, ends: dict[str, int]) -> Iterator[Problem]:
    """What the checkpoints at the root of a log directory say of its logs is there."""
    for name, what in (
        (checkpoint.RECOVERY_POINTS, "was flushed"),
        (checkpoint.LOG_START_OFFSETS, "was deleted"),
        (checkpoint.CLEANER_OFFSETS, "was compacted"),
    ):
        path = paths.join(directory, name)
        for item in _items(disk, path):
            log = f"{item['topic']}-{item['partition']}"
            if ends.get(log, item["offset"]) < item["offset"]:
                yield Problem(path, f"{log} {what} up to {item['offset']}, but ends at {ends[log]}")


def _verify_data(segment: Segment, states: ProducerStates, on_read: Read) -> Iterator[Problem]:
    """The batches of a data file, each by itself and in their order; notes what other files must agree with."""
    file = RealDisk().open(segment.path, read_only=True)
    largest = -1
    try:
        for position, _, data in scan(file, 0, file.size):
            batch = RecordBatch(data)
            for what in _batch_problems(batch, segment):
                yield Problem(segment.path, f"batch {batch.base_offset} at byte {position}: {what}")
            on_read(len(data))
            segment.has_gaps = segment.has_gaps or batch.base_offset > segment.end_offset
            segment.end_offset = batch.next_offset
            largest = max(largest, batch.max_timestamp)
            segment.starts[position] = batch.last_offset
            segment.largest[batch.last_offset] = largest
            if not segment.epochs or batch.leader_epoch > segment.epochs[-1][0]:
                segment.epochs.append((batch.leader_epoch, batch.base_offset))
            if batch.is_control and batch.record_count and control_type(batch) is ControlType.ABORT:
                segment.aborting.add((batch.producer_id, batch.last_offset))
            completed = replay(states, batch)
            if completed is not None and completed[0].aborted:
                transaction = completed[0]
                segment.aborted.append((transaction.producer_id, transaction.first_offset, transaction.last_offset))
        segment.is_whole = True
    except BadBatch as error:
        yield Problem(segment.path, f"at byte {error.position}: {error.reason}")
    except CorruptBatch as error:
        yield Problem(segment.path, str(error))
    finally:
        file.close()


def _batch_problems(batch: RecordBatch, segment: Segment) -> Iterator[str]:
    if not batch.is_valid_crc():
        yield "the CRC does not fit"
        return
    if batch.base_offset < segment.end_offset:
        yield f"offset {segment.end_offset} or more follows"
    if segment.epochs and batch.leader_epoch < segment.epochs[-1][0]:
        yield f"leader epoch {batch.leader_epoch} after {segment.epochs[-1][0]}"
    try:
        records = list(read_records(batch, _MAX_UNPACKED_BYTES))
    except CorruptBatch as error:
        yield str(error)
        return
    offsets = [record.offset for record in records]
    if offsets != sorted(set(offsets)) or (
        offsets and not batch.base_offset <= offsets[0] <= offsets[-1] <= batch.last_offset
    ):
        yield f"record offsets {offsets[:1]}…{offsets[-1:]} do not lie in order within the batch"
    if records and batch.max_timestamp != max(record.timestamp for record in records):
        yield f"the largest timestamp is not {batch.max_timestamp}"


def _verify_indexes(disk: RealDisk, segment: Segment) -> Iterator[Problem]:
    stem = segment.path.removesuffix(_DATA)
    for item in _items(disk, stem + ".index"):
        if segment.starts.get(item["position"]) != item["offset"]:
            yield Problem(stem + ".index", f"no batch that ends at {item['offset']} starts at byte {item['position']}")
    for item in _items(disk, stem + ".timeindex"):
        if segment.largest.get(item["offset"]) != item["timestamp"]:
            yield Problem(
                stem + ".timeindex", f"{item['timestamp']} is not the largest timestamp up to {item['offset']}"
            )
    yield from _verify_aborted(disk, segment, stem + ".txnindex")


def _verify_aborted(disk: RealDisk, segment: Segment, path: str) -> Iterator[Problem]:
    """The transaction index lists what markers abort, and nothing else; compaction may have taken the first batches."""
    listed = {(item["producer_id"], item["last_offset"]): item["first_offset"] for item in _items(disk, path)}
    for producer_id, first, last in segment.aborted:
        if listed.get((producer_id, last), last) > first:
            yield Problem(path, f"producer {producer_id}: offsets {first} to {last} were aborted, but are not listed")
    for (producer_id, last), first in sorted(listed.items()):
        if (producer_id, last) not in segment.aborting:
            yield Problem(path, f"producer {producer_id}: no marker at {last} aborts offsets {first} to {last}")


def _items(disk: RealDisk, path: str) -> list[Item]:
    try:
        return list(read(path)) if disk.exists(path) else []
    except Unreadable:
        return []  # told already


def _verify_snapshot(
    disk: RealDisk, directory: str, offset: int, states: ProducerStates, *, complete: bool
) -> Iterator[Problem]:
    """A producer snapshot agrees with the batches below it, as far as compaction and retention have left them."""
    path = paths.join(directory, f"{offset:020}.snapshot")
    for item in _items(disk, path):
        producer_id, sequence, last = item["producer_id"], item["last_sequence"], item["last_offset"]
        producer = states.by_id.get(producer_id)
        if last >= offset:
            yield Problem(path, f"producer {producer_id} cannot have written offset {last} below {offset}")
        elif producer is not None and complete and last >= 0:
            later = producer.last_offset > last
            if later or (producer.last_offset == last and producer.last_sequence != sequence):
                yield Problem(
                    path,
                    f"producer {producer_id} wrote sequence {producer.last_sequence} at {producer.last_offset}, "
                    f"not {sequence} at {last}",
                )


def _verify_epochs(disk: RealDisk, directory: str, segments: list[Segment]) -> Iterator[Problem]:
    path = paths.join(directory, "leader-epoch-checkpoint")
    entries = {item["epoch"]: item["start_offset"] for item in _items(disk, path)}
    if not entries:
        return
    ends = [*list(entries.values())[1:], None]
    for segment in segments:
        for epoch, offset in segment.epochs:
            if epoch not in entries:
                if epoch < max(entries) and offset >= min(entries.values()):  # what lies below was deleted
                    yield Problem(path, f"epoch {epoch}, which wrote offset {offset}, is not listed")
                continue
            end = ends[list(entries).index(epoch)]
            if end is not None and offset >= end:
                yield Problem(path, f"epoch {epoch} wrote offset {offset}, but the next one begins at {end}")
