"""Opening a log: what a clean stop left is trusted, everything else is checked.

Owns the order in which a directory becomes a `Log`:
1. finish or roll back what was interrupted: `.deleted` and `.cleaned` files go, `.swap` files take their place;
2. list the segments; after an unclean stop, scan those from the recovery point on, batch by batch: CRC, offsets,
   indexes, transaction index, leader epochs, producers, all in one pass; cut at the first bad batch and drop the
   segments after it;
3. leader epochs and producers' state, replayed from the newest snapshot where it is behind.

A segment that begins elsewhere than the scanned one before it ends is bad too: a power cut has taken the end of the
earlier segment and left the later one. (Gaps of ours lie within segments, never between them.)

A bad batch below the recovery point is damage to data that had been flushed, not a torn write: Kafka cuts there too,
and loses what follows; we refuse (`CorruptLog`), so that the partition goes offline and its other replicas, or a
human, decide.

Invariant: opening twice gives the same log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blumfeld.protocol.batch import RecordBatch
from blumfeld.protocol.checksum import crc32c
from blumfeld.storage import epochs as epoch_file
from blumfeld.storage import snapshots
from blumfeld.storage.checkpoint import PARTITION_METADATA, decode_partition_metadata, encode_partition_metadata
from blumfeld.storage.epochs import LeaderEpochs, MalformedCheckpoint
from blumfeld.storage.errors import CorruptLog
from blumfeld.storage.index import MAX_RELATIVE_OFFSET
from blumfeld.storage.producers import replay
from blumfeld.storage.results import AbortedTransaction
from blumfeld.storage.scan import BadBatch, scan
from blumfeld.storage.segment import INDEX_SUFFIX, LOG_SUFFIX, SUFFIXES, TXN_INDEX_SUFFIX, Segment

if TYPE_CHECKING:
    from blumfeld.storage.log import Log

_logger = logging.getLogger(__name__)

DELETED = ".deleted"
CLEANED = ".cleaned"
SWAP = ".swap"
_RAFT_SNAPSHOT_DELETED = ".checkpoint.deleted"
_ATTRIBUTES_AT = 21
_NEVER_BEGUN = 2**63 - 1
REPORT_SECONDS = 5.0


def open_log(log: Log, *, clean: bool, recovery_point: int, log_start_offset: int, high_watermark: int) -> None:
    """Fill `log` from its directory, which is made if missing. Raises `CorruptLog` and OSError."""
    try:
        _open(log, clean, recovery_point, log_start_offset, high_watermark)
    except BaseException:
        for segment in log.segments:
            segment.data.close()
        raise


def _open(log: Log, clean: bool, recovery_point: int, log_start_offset: int, high_watermark: int) -> None:
    disk = log.home.disk
    names: list[str] = []
    if disk.exists(log.directory):
        names = _finish_interrupted(log, disk.list(log.directory))
    else:
        disk.make_directories(log.directory)
        log.parent_changed = True
    _load_topic_id(log, names)
    without_index = _load_segments(log, names)
    _drop_below(log, log_start_offset)
    stored_epochs = _load_epochs(log, names)
    log.snapshots = snapshots.Snapshots(disk, log.directory, _offsets_of(names, snapshots.SUFFIX))
    log.snapshots.remove_below(log.segments[0].base_offset if log.segments else _NEVER_BEGUN)
    log.recovery_point = recovery_point
    first = len(log.segments) if clean else _first_to_scan(log, recovery_point)
    for segment in log.segments[:first]:
        if segment in without_index:
            segment.rebuild_indexes(f"there is no {INDEX_SUFFIX}")
            segment.data.close()
    if log.segments and not clean:
        log.sealed_to = log.segments[first].base_offset
        _recover(log, first, recovery_point, log_start_offset)
    elif log.segments:
        _trust(log)
    _start_and_end(log, clean, log_start_offset)
    if stored_epochs is None and log.segments[0].size:
        _rebuild_epochs(log)
    log.epochs.truncate_from_end(log.log_end_offset)
    log.epochs.truncate_from_start(log.log_start_offset)
    log.epochs_written = log.epochs.changes if stored_epochs == log.epochs.entries else -1
    log.epochs_changed()
    _load_producers(log)
    log.update_high_watermark(high_watermark)
    for segment in log.segments:
        segment.release()


# 1. What was interrupted.
def _finish_interrupted(log: Log, names: list[str]) -> list[str]:
    """Delete, or complete, what a crash left half done (see `removal.py` for the protocol); the names there are now."""
    disk, directory = log.home.disk, log.directory
    gone = [n for n in names if n.endswith((DELETED, ".tmp")) and not n.endswith(_RAFT_SNAPSHOT_DELETED)]
    cleaned = [name for name in names if name.endswith(CLEANED)]
    swaps = [name for name in names if name.endswith(SWAP)]
    if not gone and not cleaned and not swaps:
        return names
    lowest_cleaned = min((_offset_of(name) for name in cleaned), default=_NEVER_BEGUN)
    gone += cleaned + [name for name in swaps if _offset_of(name) >= lowest_cleaned]
    for name in gone:
        disk.remove(f"{directory}/{name}")
    kept = [name for name in names if name not in gone]
    swaps = [name for name in swaps if name in kept]
    for name in _replaced_by(log, swaps, kept):
        _logger.info("%s: %s has been compacted, its old file goes", log.topic_partition, name)
        disk.remove(f"{directory}/{name}")
    disk.sync_directory(directory)
    for name in sorted(swaps, key=lambda name: not name.endswith(LOG_SUFFIX + SWAP)):
        disk.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix(SWAP)}")
    log.names_changed = True
    return disk.list(directory)


def _replaced_by(log: Log, swaps: list[str], names: list[str]) -> list[str]:
    """The segment files whose base lies in what the swapped-in segments cover."""
    lowest, end = _NEVER_BEGUN, -1
    for name in swaps:
        if name.endswith(LOG_SUFFIX + SWAP):
            path = f"{log.directory}/{name}"
            file = log.home.disk.open(path, read_only=True)
            try:
                for _, header, _ in scan(file, 0, file.size):
                    end = max(end, header[0] + header[6] + 1)
            except BadBatch as error:
                raise CorruptLog(f"{path} is damaged {error}") from error
            finally:
                file.close()
            lowest = min(lowest, _offset_of(name))
    return [name for name in names if name.endswith(SUFFIXES) and lowest <= _offset_of(name) < end]


def _offset_of(name: str) -> int:
    prefix = name.partition(".")[0]
    return int(prefix) if prefix.isdigit() else _NEVER_BEGUN


def _offsets_of(names: list[str], suffix: str) -> list[int]:
    return [int(name[:20]) for name in names if name.endswith(suffix) and len(name) == 20 + len(suffix)]


# 2. Segments.
def _load_topic_id(log: Log, names: list[str]) -> None:
    path = f"{log.directory}/{PARTITION_METADATA}"
    stored = None
    if PARTITION_METADATA in names:
        try:
            stored = decode_partition_metadata(log.home.disk.read_file(path))
        except MalformedCheckpoint as error:
            _logger.warning("%s is written again: %s", path, error)
    if stored is not None and log.topic_id is not None and stored != log.topic_id:
        raise CorruptLog(f"{path} belongs to another topic of that name ({stored.hex()}, not {log.topic_id.hex()})")
    log.topic_id_written = stored is not None
    log.topic_id = stored if stored is not None else log.topic_id
    if log.topic_id is not None and stored is None:
        log.home.disk.write_file_atomically(path, encode_partition_metadata(log.topic_id), sync=False)


def _load_segments(log: Log, names: list[str]) -> list[Segment]:
    """The segments that there are; returns those that lack their offset index."""
    disk = log.home.disk
    present = set(names)
    bases = _offsets_of(names, LOG_SUFFIX)
    for name in names:
        if name.endswith(SUFFIXES) and not name.endswith(LOG_SUFFIX) and _offset_of(name) not in bases:
            _logger.warning("%s: %s belongs to no data file and goes", log.topic_partition, name)
            disk.remove(f"{log.directory}/{name}")
    without_index = []
    for base in sorted(bases):
        stem = f"{base:020}"
        size = disk.size(f"{log.directory}/{stem}{LOG_SUFFIX}")
        segment = Segment(
            log.home,
            log.directory,
            base,
            log.config,
            size=size,
            new=size == 0,
            has_txn_index=stem + TXN_INDEX_SUFFIX in present,
        )
        log.segments.append(segment)
        if size and stem + INDEX_SUFFIX not in present:
            without_index.append(segment)
    return without_index


def _drop_below(log: Log, start_offset: int) -> None:
    """Remove the segments wholly below the log's start: if a crash brought them back, nobody has flushed them."""
    while len(log.segments) > 1 and log.segments[1].base_offset <= start_offset:
        for path in log.segments.pop(0).paths():
            if log.home.disk.exists(path):
                log.home.disk.remove(path)
        log.names_changed = True


def _trust(log: Log) -> None:
    """After a clean stop only the active segment is looked at: where it ends, which its index says almost exactly."""
    try:
        log.log_end_offset = log.segments[-1].next_offset()
    except BadBatch as error:
        path = log.segments[-1].data.path
        raise CorruptLog(f"{path} was closed cleanly, but is damaged {error}") from error


def _first_to_scan(log: Log, recovery_point: int) -> int:
    """The segment that holds the recovery point; all after it are scanned too."""
    return max(sum(segment.base_offset <= recovery_point for segment in log.segments) - 1, 0)


def _recover(log: Log, first: int, recovery_point: int, log_start_offset: int) -> None:
    """Scan the segments from number `first` on; the log ends at the first bad batch."""
    flushed = recovery_point if recovery_point > log_start_offset else 0  # and not deleted by now
    end_offset = log.segments[first].base_offset
    stored_starts = dict(log.epochs.entries)
    log.epochs.truncate_from_end(end_offset)  # found again in the batches; what the file says of them may be outdated
    _prepare_producers(log, first, log_start_offset)
    progress = _Progress(log, first)
    damage: BadBatch | None
    for index in range(first, len(log.segments)):
        segment = log.segments[index]
        progress.reached(index, end_offset)
        if index > first:
            if segment.base_offset < end_offset:
                damage = BadBatch(0, f"it begins below {end_offset}, where the one before it ends")
                _cut_at_damage(log, index, damage, end_offset, flushed)
                break
            if recovery_point <= end_offset < segment.base_offset <= end_offset + MAX_RELATIVE_OFFSET:
                previous = log.segments[index - 1]  # it has lost its end: segments are made without gaps between them
                damage = BadBatch(
                    previous.size, f"it ends at {end_offset}, the next one begins at {segment.base_offset}"
                )
                _cut_at_damage(log, index - 1, damage, end_offset, flushed)
                break
            log.producers.end_offset = end_offset = segment.base_offset
            log.snapshots.write(log.producers)
        _logger.debug("%s: recovering %r", log.topic_partition, segment)
        damage, end_offset = _recover_segment(log, segment, end_offset, stored_starts)
        segment.data.close()
        if damage is not None:
            _cut_at_damage(log, index, damage, end_offset, flushed)
            break
    if end_offset < flushed:
        raise CorruptLog(
            f"{log.directory} ends at offset {end_offset}, but everything below {flushed} had been flushed: " + _ADVICE
        )
    log.log_end_offset = end_offset
    log.unsealed = True  # index files were written anew, and not synced
    log.names_changed = log.parent_changed = True  # the process may have ended before it synced them
    log.cut = True  # nor what it may have cut off


class _Progress:
    """Says now and then how far the recovery of one long log has come."""

    def __init__(self, log: Log, first: int) -> None:
        self._log = log
        self._first = first
        self._told = log.home.clock.monotonic()

    def reached(self, index: int, offset: int) -> None:
        """Segment number `index` is next; everything below `offset` has been read."""
        now = self._log.home.clock.monotonic()
        if now - self._told >= REPORT_SECONDS:
            self._told = now
            count = len(self._log.segments) - self._first
            _logger.info(
                "%s: %d of %d segments recovered, up to offset %d",
                self._log.topic_partition,
                index - self._first,
                count,
                offset,
            )


_ADVICE = (
    "the rest of what was flushed is gone. Restore the files; or delete the partition's directory, so that it is "
    "copied from another replica; or, to keep what is left and lose the rest, remove the partition's line from "
    "recovery-point-offset-checkpoint while the broker is stopped"
)


def _prepare_producers(log: Log, first: int, log_start_offset: int) -> None:
    """The producers' state at the base of the first segment to scan; later snapshots are not to be trusted."""
    base = log.segments[first].base_offset
    log.snapshots.remove_above(base)
    log.snapshots.load(log.producers, base, log_start_offset)
    _replay_to(log, base)
    log.producers.end_offset = max(log.producers.end_offset, base)


def _recover_segment(
    log: Log, segment: Segment, expected: int, stored_starts: dict[int, int]
) -> tuple[BadBatch | None, int]:
    """Check and note every batch: (the first bad one if any, the offset after the last good one).

    `stored_starts`: where epochs began by the file. It is right where compaction has removed an epoch's first batches,
    or all of them.
    """
    segment.start_over()
    base_offset = segment.base_offset
    states = log.producers
    epochs = log.epochs
    latest_epoch = epochs.latest
    good_end = 0
    damage: BadBatch | None = None
    try:
        for position, header, data in segment.batches():
            first, _, epoch, _, crc, _, delta, _, max_timestamp, producer_id, _, _, _ = header
            last = first + delta
            if crc32c(data[_ATTRIBUTES_AT:]) != crc:
                raise BadBatch(position, "the CRC does not fit")
            if first < expected or delta < 0 or last - base_offset > MAX_RELATIVE_OFFSET:
                raise BadBatch(position, f"offsets {first} to {last} where {expected} or more follows")
            segment.note(position, len(data), last, max_timestamp)
            if epoch > latest_epoch:
                for stored, start in stored_starts.items():
                    if latest_epoch < stored <= epoch and expected <= start < first:
                        epochs.assign(stored, start)
                epochs.assign(epoch, first)
                latest_epoch = epoch
            if producer_id >= 0:
                _replay(log, segment, RecordBatch(data))
            states.end_offset = expected = last + 1
            good_end = position + len(data)
    except BadBatch as error:
        damage = error
    if damage is None and good_end < segment.size:
        damage = BadBatch(good_end, "the file ends within a batch")
    if segment.size:
        segment.time_index.append(segment.max_timestamp, segment.offset_of_max_timestamp)
        segment.offset_index.seal()
        segment.time_index.seal()
    return damage, expected


def _replay(log: Log, segment: Segment, batch: RecordBatch) -> None:
    completed = replay(log.producers, batch)
    if completed is not None and completed[0].aborted:
        transaction, stable = completed
        segment.txn_index.append(
            AbortedTransaction(transaction.producer_id, transaction.first_offset, transaction.last_offset, stable)
        )


def _cut_at_damage(log: Log, index: int, damage: BadBatch, end_offset: int, flushed: int) -> None:
    segment = log.segments[index]
    if end_offset < flushed:
        raise CorruptLog(
            f"{segment.data.path} is damaged {damage}. Offsets {end_offset} to {flushed - 1} had been flushed: "
            + _ADVICE
        )
    lost = segment.size - damage.position + sum(later.size for later in log.segments[index + 1 :])
    _logger.warning(
        "%s: cut at offset %d, %d bytes that were never flushed go (%s, %s)",
        log.topic_partition,
        end_offset,
        lost,
        segment.data.path,
        damage,
    )
    kept = index if segment.base_offset < end_offset and not damage.position else index + 1
    for gone in reversed(log.segments[kept:]):
        for path in gone.paths():
            if log.home.disk.exists(path):
                log.home.disk.remove(path)
        log.home.disk.sync_directory(log.directory)  # in this order, so that a crash leaves no hole
    del log.segments[kept:]
    if kept > index:
        segment.data.use().truncate(damage.position)
        segment.size = damage.position
        if not segment.size:
            segment.start_over()
        segment.data.close()


def _start_and_end(log: Log, clean: bool, log_start_offset: int) -> None:
    """Settle start, end and recovery point; a log without segments, or wholly below its start, begins anew there."""
    disk = log.home.disk
    if log.segments and log.log_end_offset < log_start_offset:
        _logger.warning(
            "%s ends at %d, below its start %d: all of it has been deleted",
            log.topic_partition,
            log.log_end_offset,
            log_start_offset,
        )
        for segment in reversed(log.segments):
            for path in segment.paths():
                if disk.exists(path):
                    disk.remove(path)
        log.segments.clear()
        log.epochs.clear()
        log.snapshots.remove_above(-1)
        log.producers.clear(log_start_offset)
    if not log.segments:
        segment = Segment(log.home, log.directory, log_start_offset, log.config)
        segment.create()
        log.segments.append(segment)
        log.log_end_offset = log_start_offset
        log.names_changed = True
    log.log_start_offset = max(log_start_offset, log.segments[0].base_offset)
    if log.recovery_point > log.log_end_offset and log.home.before_truncation is not None:
        log.home.before_truncation(log, log.log_end_offset)  # begun anew: no checkpoint may claim what was there
    log.recovery_point = log.log_end_offset if clean else min(log.recovery_point, log.log_end_offset)
    log.sealed_to = log.active.base_offset if clean else min(log.sealed_to, log.active.base_offset)
    if log.recovery_point < log.log_end_offset:
        log.mark_unflushed(log.home.clock.time_ms())


# 3. Epochs and producers.
def _load_epochs(log: Log, names: list[str]) -> list[tuple[int, int]] | None:
    """The stored entries, None where there are none to be trusted."""
    if epoch_file.FILE_NAME not in names:
        return None
    path = f"{log.directory}/{epoch_file.FILE_NAME}"
    try:
        entries = epoch_file.decode(log.home.disk.read_file(path))
    except MalformedCheckpoint as error:
        _logger.warning("%s is built again from the batches: %s", path, error)
        return None
    log.epochs = LeaderEpochs(entries)
    return entries


def _rebuild_epochs(log: Log) -> None:
    """From all batches' headers: only where the file is missing or malformed."""
    rebuilt = LeaderEpochs()
    for segment in log.segments:
        try:
            for _, header, _ in segment.batches():
                if header[2] > rebuilt.latest:
                    rebuilt.assign(header[2], header[0])
        except BadBatch as error:
            raise CorruptLog(f"{segment.data.path} is damaged {error}") from error
        segment.data.close()
    log.epochs = rebuilt


def _load_producers(log: Log) -> None:
    """The state at the log's end; after a recovery it is there already."""
    if log.producers.end_offset != log.log_end_offset or log.producers.end_offset == 0:
        log.snapshots.remove_above(log.log_end_offset)
        log.snapshots.load(log.producers, log.log_end_offset, log.log_start_offset)
        _replay_to(log, log.log_end_offset)
    log.producers.end_offset = log.log_end_offset
    log.snapshots.remove_stray({segment.base_offset for segment in log.segments}, log.log_end_offset)


def _replay_to(log: Log, end: int) -> None:
    """Bring the producers' state from its offset up to `end`, from batch headers and markers."""
    states = log.producers
    position = 0
    for index, segment in enumerate(log.segments):
        following = log.segments[index + 1].base_offset if index + 1 < len(log.segments) else _NEVER_BEGUN
        if states.end_offset >= end:
            break
        if following <= states.end_offset or segment.base_offset >= end or not segment.size:
            continue
        try:
            position = segment.start_position(states.end_offset)[0]
            for _, header, data in segment.batches(position):
                if header[0] >= end:
                    break
                if header[0] + header[6] >= states.end_offset and header[9] >= 0:
                    replay(states, RecordBatch(data))
        except BadBatch as error:
            raise CorruptLog(f"{segment.data.path} is damaged {error}") from error
        segment.data.close()


def rebuild_producers(log: Log, end: int) -> None:
    """After a truncation: the state below `end`, from the newest snapshot that is still good."""
    log.snapshots.remove_above(end)
    log.snapshots.load(log.producers, end, log.log_start_offset)
    _replay_to(log, end)
    log.producers.end_offset = end
