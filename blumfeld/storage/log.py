"""One partition's log: ordered segments, and what is known of them.

Owns the files of one directory `topic-N` and the offsets that say what they mean. Knows nothing of leaders, replicas
and networks: who may append, and which high watermark holds, is told from outside. A log belongs to one thread (the
event loop once it is open); other threads may call `flush()`, a `cold` read, and what says so, nothing else.

Invariants
- log_start_offset ≤ last_stable_offset ≤ high_watermark ≤ log_end_offset; recovery_point ≤ log_end_offset.
- Offsets of batches ascend within and across segments; `segments` is never empty, its last one takes the appends.
- An append is visible wholly or not at all: one that failed is cut back from the file.
- Nothing below `recovery_point` is lost by a crash: data, their indexes, the names of their files and the epochs they
  began were synced before it moved.
- After a disk error nothing is written any more, and every call answers KAFKA_STORAGE_ERROR.

Where to look: `appending.py` (all appends but the common one, which is below), `reading.py` (reads), `looking_up.py`
(by time), `recovery.py` (opening), `flushing.py`, `truncation.py` (from the end), `removal.py` (from the start, and
replacing).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from blumfeld.protocol.batch import HEADER_SIZE
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage import appending, flushing, looking_up, reading, recovery, removal, truncation, validate
from blumfeld.storage.epochs import LeaderEpochs
from blumfeld.storage.log_directory import LogDirectory
from blumfeld.storage.producers import Producer, ProducerStates, Verification
from blumfeld.storage.results import (
    AbortedTransaction,
    AppendResult,
    Buffer,
    LookUpResult,
    ReadResult,
    TimestampOffset,
)
from blumfeld.storage.snapshots import Snapshots
from blumfeld.storage.validate import Origin

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock
    from blumfeld.env.disk import Disk
    from blumfeld.storage.log_config import LogConfig
    from blumfeld.storage.scan import HeaderFields
    from blumfeld.storage.segment import Segment

_pack_offset = Struct(">q").pack_into
_pack_epoch = Struct(">i").pack_into
_EPOCH_AT = 12
_NONE = ErrorCode.NONE


class Log:
    """A partition's log. Open one with `Log.open`, or through the `LogManager`."""

    __slots__ = (
        "__weakref__",
        "_flush_messages",
        "_latest_epoch",
        "_plain",
        "config",
        "cut",
        "deleted",
        "directory",
        "epochs",
        "epochs_written",
        "files_lock",
        "flush_lock",
        "generation",
        "high_watermark",
        "hints",
        "home",
        "log_end_offset",
        "log_start_offset",
        "names_changed",
        "parent_changed",
        "partition",
        "producers",
        "recovery_point",
        "sealed_to",
        "segments",
        "snapshots",
        "topic",
        "topic_id",
        "topic_id_written",
        "unflushed",
        "unsealed",
    )

    def __init__(self, home: LogDirectory, directory: str, config: LogConfig, topic_id: bytes | None) -> None:
        """An unopened log; use `Log.open` or `recovery.open_log`."""
        self.home = home
        self.directory = directory
        self.topic, self.partition = parse_name(directory.rpartition("/")[2])
        self.topic_id = topic_id
        self.topic_id_written = False
        self.segments: list[Segment] = []
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.high_watermark = 0
        self.recovery_point = 0
        self.sealed_to = 0
        """A segment's base: all before it is sealed and durable, indexes included."""
        self.epochs = LeaderEpochs()
        self.epochs_written = 0
        self._latest_epoch = -1
        self.producers = ProducerStates()
        self.snapshots = Snapshots(home.disk, directory, [])
        self.hints: dict[int, tuple[Segment, int]] = {}
        """Where readers go on: next offset → its segment and position. What changes segments puts a new one in its
        place: a read that began before, in a thread, still notes in the old one what is no longer true."""
        self.generation = 0
        """Changes with truncations: what a thread began before or during one is void."""
        self.unflushed = False
        self.cut = False
        """Whether the active segment was cut and not synced since: what was cut off may come back."""
        self.unsealed = False
        """Whether the active segment may have what a clean close has to write."""
        self.names_changed = False
        """Whether names in the directory changed since it was last synced."""
        self.parent_changed = False
        self.deleted = False
        self.flush_lock = threading.Lock()
        self.files_lock = threading.Lock()
        self.update_config(config)

    @classmethod
    def open(
        cls,
        directory: str,
        config: LogConfig,
        disk: Disk,
        clock: Clock,
        *,
        clean: bool = False,
        recovery_point: int = 0,
        log_start_offset: int = 0,
        high_watermark: int = 0,
        topic_id: bytes | None = None,
        home: LogDirectory | None = None,
    ) -> Log:
        """Open the log in `directory` (made if missing); blocking, so in a thread where it may be long.

        `clean`: it was closed by `close()`, so nothing needs recovery. Otherwise segments from `recovery_point` on are
        checked batch by batch and cut at the first bad one. `home`: the log directory it shares (default: its own).
        Raises `CorruptLog` where data below `recovery_point`, flushed once, are damaged, and OSError.
        """
        if home is None:
            home = LogDirectory(directory.rpartition("/")[0] or ".", disk, clock)
        log = cls(home, directory, config, topic_id)
        recovery.open_log(
            log,
            clean=clean,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
            high_watermark=high_watermark,
        )
        return log

    def __repr__(self) -> str:
        return f"Log({self.directory}, {self.log_start_offset}…{self.log_end_offset})"

    # What it is.
    @property
    def topic_partition(self) -> str:
        """`topic-N`, for messages."""
        return f"{self.topic}-{self.partition}"

    @property
    def active(self) -> Segment:
        """The segment that takes the appends."""
        return self.segments[-1]

    @property
    def last_stable_offset(self) -> int:
        """First offset of the oldest transaction that is open, or decided above the high watermark; else the latter."""
        unstable = self.producers.first_unstable_offset
        if unstable < 0:
            return self.high_watermark
        return min(max(unstable, self.log_start_offset), self.high_watermark)

    @property
    def checkpoint_point(self) -> int:
        """What a checkpoint may call flushed: the recovery point, or a little less, so that the next recovery scans the
        first segment whose indexes are not known to be durable."""
        point = self.recovery_point
        sealed_to = self.sealed_to
        if point <= sealed_to:
            return point
        following = next((s.base_offset for s in self.segments if s.base_offset > sealed_to), point)
        return max(sealed_to, min(point, following) - 1)

    @property
    def latest_epoch(self) -> int:
        """The newest leader epoch known to the log, −1 if none."""
        return self._latest_epoch

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return sum([segment.size for segment in self.segments])

    @property
    def offline(self) -> bool:
        """Whether a disk error has taken the log out of service: every call then answers KAFKA_STORAGE_ERROR."""
        return self.home.error is not None

    def update_config(self, config: LogConfig) -> None:
        """Obey `config` from now on."""
        self.config = config
        self._plain = not config.compact and config.compression_type == "producer" and not config.log_append_time
        self._flush_messages = config.flush_messages
        for segment in self.segments:
            segment.config = config

    # Appending.
    def append_as_leader(
        self,
        records: Buffer,
        leader_epoch: int,
        *,
        now_ms: int,
        origin: Origin = "client",
        verification: Verification | None = None,
        transaction_version: int = 0,
    ) -> AppendResult:
        """Validate `records` (one or more batches), give them the next offsets and `leader_epoch`, write them.

        A writable buffer is patched in place. `origin`: sequences are checked for "client" only; "raft" batches keep
        the offsets and epochs they carry. `verification`: what `producers.start_verification` gave (KIP-890).
        `transaction_version`: of the markers among the batches (2: each raises the producer's epoch).

        The common case, one plain batch that needs nothing but offset and epoch, is decided and written right here;
        everything else, refusals included, goes through `appending.append_as_leader`, which checks all of it again.
        """
        if origin == "client" and self._plain and self.home.error is None:
            view = memoryview(records)
            header = validate.plain_header(view, self.config, now_ms)
            if header is not None:
                producer = None
                producer_id = header[9]
                if producer_id >= 0:
                    producer = self.producers.by_id.get(producer_id)
                    plain = producer is not None and producer.continues(header[10], header[11])
                    plain = plain and not self.producers.verifications
                else:
                    plain = True
                if plain:
                    return self._append_plain(view, header, producer, leader_epoch, now_ms)
        return appending.append_as_leader(
            self, records, leader_epoch, now_ms, origin, verification, transaction_version
        )

    def _append_plain(
        self, view: memoryview, header: HeaderFields, producer: Producer | None, leader_epoch: int, now_ms: int
    ) -> AppendResult:
        """Write one batch that was found to be plain; `producer`: the idempotent one it continues, if any."""
        size = len(view)
        bound = self.home.memory
        if bound is not None and bound.refuses(size):
            return appending.no_room(self, bound)
        base = self.log_end_offset
        delta, max_timestamp = header[6], header[8]
        last = base + delta
        segment = self.segments[-1]
        before = segment.size
        home = self.home
        home.appending = True
        try:
            if segment.should_roll(size, last, max_timestamp, now_ms):
                segment = self.roll()
                before = 0
            if view.readonly:
                patched = bytearray(view[:HEADER_SIZE])
                _pack_offset(patched, 0, base)
                _pack_epoch(patched, _EPOCH_AT, leader_epoch)
                segment.append([patched, view[HEADER_SIZE:]], size, last, max_timestamp)
            else:
                _pack_offset(view, 0, base)
                _pack_epoch(view, _EPOCH_AT, leader_epoch)
                segment.append(view, size, last, max_timestamp)
        except OSError as error:
            return appending.undo(self, segment, before, error)
        finally:
            home.appending = False
        if leader_epoch != self._latest_epoch:
            self.assign_epoch(leader_epoch, base)
        self.log_end_offset = self.producers.end_offset = end = last + 1
        if producer is not None:
            producer.add(header[10], (header[11] + delta) & 0x7FFFFFFF, last, delta, max_timestamp)
        if not self.unflushed:
            self.mark_unflushed(now_ms)
        must_flush = end - self.recovery_point >= self._flush_messages
        return AppendResult(_NONE, base, last, -1, self.log_start_offset, None, False, must_flush)

    def append_as_follower(self, records: Buffer) -> AppendResult:
        """Write batches fetched from the leader as they are; a cut last batch is left out.

        OFFSET_OUT_OF_RANGE where they do not start at or after the log's end.
        """
        return appending.append_as_follower(self, records, self.home.clock.time_ms())

    def assign_epoch(self, leader_epoch: int, start_offset: int) -> None:
        """Note that `leader_epoch` starts at `start_offset` (on becoming leader: at the log's end)."""
        self.epochs.assign(leader_epoch, start_offset)
        self._latest_epoch = self.epochs.latest

    def epochs_changed(self) -> None:
        """Whoever changes `epochs` otherwise says so."""
        self._latest_epoch = self.epochs.latest

    def mark_unflushed(self, now_ms: int) -> None:
        """There is something to flush from now on."""
        self.unflushed = True
        self.unsealed = True
        self.home.dirty[self] = now_ms

    # Reading.
    def read(self, offset: int, max_bytes: int, *, upper: int | None = None, at_least_one: bool = True) -> ReadResult:
        """Whole batches from the one that holds `offset`, at most `max_bytes`, none that reaches `upper` or beyond.

        `at_least_one`: the first batch comes even where it is larger. OFFSET_OUT_OF_RANGE below the start or above the
        end; an empty result at the end (or at `upper`).
        """
        return reading.read(self, offset, max_bytes, upper, at_least_one)

    def aborted_transactions(self, start: int, end: int) -> list[AbortedTransaction]:
        """Aborted transactions that overlap the offsets from `start` up to `end` (exclusive)."""
        return reading.aborted_transactions(self, start, end)

    def offset_for_timestamp(self, timestamp: int) -> LookUpResult:
        """The first record whose timestamp is at least `timestamp` (≥ 0)."""
        return looking_up.offset_for_timestamp(self, timestamp)

    def offset_of_max_timestamp(self) -> LookUpResult:
        """The record with the largest timestamp; none in an empty log."""
        return looking_up.offset_of_max_timestamp(self)

    def earliest(self) -> TimestampOffset:
        """The log's start, with its leader epoch (no timestamp)."""
        return TimestampOffset(-1, self.log_start_offset, self.epochs.epoch_at(self.log_start_offset))

    def latest(self) -> TimestampOffset:
        """The log's end, with the newest leader epoch (no timestamp)."""
        return TimestampOffset(-1, self.log_end_offset, self._latest_epoch)

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """(epoch, end offset): the largest known epoch ≤ `leader_epoch` and where it ends; (−1, −1) if unknown."""
        return self.epochs.end_offset_for(leader_epoch, self.log_end_offset)

    # Watermarks.
    def update_high_watermark(self, offset: int) -> bool:
        """Set it, within [log_start_offset, log_end_offset]; whether it changed."""
        if offset > self.log_end_offset:
            offset = self.log_end_offset
        if offset < self.log_start_offset:
            offset = self.log_start_offset
        if offset == self.high_watermark:
            return False
        self.high_watermark = offset
        if self.producers.unreplicated:
            self.producers.high_watermark_moved(offset)
        return True

    def advance_log_start_offset(self, offset: int) -> ErrorCode:
        """Raise the start; OFFSET_OUT_OF_RANGE above the high watermark. Files go with the next retention turn."""
        return removal.advance_log_start_offset(self, offset)

    def expire_producers(self, now_ms: int) -> int:
        """Forget producers that have been silent for producer.id.expiration.ms; how many."""
        return self.producers.expire(now_ms, self.config.producer_id_expiration_ms)

    # Segments.
    def roll(self) -> Segment:
        """Start a new active segment at the log's end. May raise OSError."""
        return appending.roll(self, self.log_end_offset)

    def truncate_to(self, offset: int) -> bool:
        """Drop every batch that holds or follows `offset`; whether anything changed. May raise OSError."""
        return truncation.truncate_to(self, offset)

    def truncate_and_start_at(self, offset: int) -> None:
        """Drop everything; the log then starts and ends at `offset`. May raise OSError."""
        truncation.truncate_and_start_at(self, offset)

    def delete_old_segments(self, deletable: Callable[[Segment, Segment | None], bool], reason: str) -> int:
        """Delete segments from the oldest while `deletable(segment, next)` and all is below the high watermark.

        Returns how many went; their files go after file.delete.delay.ms. May raise OSError.
        """
        return removal.delete_old_segments(self, deletable, reason)

    def replace_segments(self, new: list[Segment], old: list[Segment]) -> None:
        """Put rewritten (`.cleaned`, sealed) segments in the place of `old` ones, atomically with respect to crashes.

        All in one call; `removal.py` has the three steps by which a compaction keeps the syncs off the event loop.
        """
        removal.prepare_replacement(self, new)
        removal.adopt_replacement(self, new, old)
        removal.finish_replacement(self, new, old)

    # Durability.
    def flush(self, up_to: int | None = None) -> int:
        """Make everything below `up_to` (default: the end) durable and return the recovery point; from any thread.

        Waits for the device. Raises OSError, the directory being offline then.
        """
        return flushing.flush(self, up_to)

    def close(self) -> None:
        """Write what a clean start needs (snapshot, cut indexes, epochs), sync, and give all handles back."""
        flushing.close(self)

    def abandon(self) -> None:
        """Give all handles back and write nothing: what is left of a log whose directory is offline."""
        flushing.abandon(self)


def parse_name(name: str) -> tuple[str, int]:
    """Topic and partition of a directory name `topic-N`; ValueError if it is none."""
    topic, dash, partition = name.rpartition("-")
    if not dash or not topic or not partition.isdigit():
        raise ValueError(f"{name!r} is not the name of a partition's directory (topic-N)")
    return topic, int(partition)
