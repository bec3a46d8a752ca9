"""One partition's log: ordered segments, and what is known of them.

Owns the files of one directory `topic-N`. Knows nothing of leaders, replicas and networks: who may append, and which
high watermark holds, is told from outside. A log belongs to one thread at a time (the event loop once it is open);
threads only ever run what `prepare_flush()` and a `cold` read hand out.

Invariants
- log_start_offset ≤ last_stable_offset ≤ high_watermark ≤ log_end_offset; recovery_point ≤ log_end_offset.
- Offsets of batches ascend within and across segments; leader epochs never descend.
- An append is visible wholly or not at all: one that failed is cut back from the file.
- Nothing below `recovery_point` can be lost by a crash: files, their names and the leader-epoch file were synced before
  it moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from blumfeld.storage.results import AbortedTransaction, AppendResult, Buffer, ReadResult, TimestampOffset

if TYPE_CHECKING:
    from blumfeld.env.clock import Clock
    from blumfeld.env.disk import Disk
    from blumfeld.protocol.errors import ErrorCode
    from blumfeld.storage.epochs import LeaderEpochs
    from blumfeld.storage.log_config import LogConfig
    from blumfeld.storage.producers import ProducerStates
    from blumfeld.storage.segment import Segment

Origin: TypeAlias = Literal["client", "coordinator", "raft"]


class Log:
    """A partition's log. Open one with `Log.open`, or through the `LogManager`."""

    topic: str
    partition: int
    topic_id: bytes | None
    directory: str
    config: LogConfig
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    recovery_point: int
    epochs: LeaderEpochs
    producers: ProducerStates
    segments: list[Segment]

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
    ) -> Log:
        """Open the log in `directory` (made if missing); blocking, so in a thread where it may be long.

        `clean`: it was closed by `close()`, so nothing needs recovery. Otherwise segments from `recovery_point` on are
        checked batch by batch and cut at the first bad one. Raises `CorruptLog` where data below `recovery_point`,
        flushed once, are damaged, and OSError.
        """
        raise NotImplementedError

    @property
    def topic_partition(self) -> str:
        """`topic-N`, for messages."""
        raise NotImplementedError

    @property
    def last_stable_offset(self) -> int:
        """First offset of the oldest transaction that is open, or decided above the high watermark; else the latter."""
        raise NotImplementedError

    @property
    def latest_epoch(self) -> int:
        """The newest leader epoch known to the log, −1 if none."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        raise NotImplementedError

    @property
    def offline(self) -> bool:
        """Whether a disk error has taken the log out of service: every call then answers KAFKA_STORAGE_ERROR."""
        raise NotImplementedError

    def append_as_leader(
        self, records: Buffer, leader_epoch: int, *, now_ms: int, origin: Origin = "client"
    ) -> AppendResult:
        """Validate `records` (one or more batches), give them the next offsets and `leader_epoch`, write them.

        A writable buffer is patched in place. `origin`: sequences are checked for "client" only; "raft" batches keep
        the offsets and epochs they carry.
        """
        raise NotImplementedError

    def append_as_follower(self, records: Buffer) -> AppendResult:
        """Write batches fetched from the leader as they are; a cut last batch is left out.

        OFFSET_OUT_OF_RANGE where they do not start at or after the log's end.
        """
        raise NotImplementedError

    def assign_epoch(self, leader_epoch: int, start_offset: int) -> None:
        """Note that `leader_epoch` starts at `start_offset` (on becoming leader: at the log's end)."""
        raise NotImplementedError

    def read(
        self, offset: int, max_bytes: int, *, upper: int | None = None, at_least_one: bool = True
    ) -> ReadResult:
        """Whole batches from the one that holds `offset`, at most `max_bytes`, none that reaches `upper` or beyond.

        `at_least_one`: the first batch comes even where it is larger. OFFSET_OUT_OF_RANGE below the start or above the
        end; an empty result at the end.
        """
        raise NotImplementedError

    def aborted_transactions(self, start: int, end: int) -> list[AbortedTransaction]:
        """Aborted transactions that overlap the offsets from `start` up to `end` (exclusive)."""
        raise NotImplementedError

    def offset_for_timestamp(self, timestamp: int) -> TimestampOffset | None:
        """The first record whose timestamp is at least `timestamp`."""
        raise NotImplementedError

    def offset_of_max_timestamp(self) -> TimestampOffset | None:
        """The record with the largest timestamp; None in an empty log."""
        raise NotImplementedError

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """(epoch, end offset): the largest known epoch ≤ `leader_epoch` and where it ends; (−1, −1) if unknown."""
        raise NotImplementedError

    def update_high_watermark(self, offset: int) -> bool:
        """Set it, within [log_start_offset, log_end_offset]; whether it changed."""
        raise NotImplementedError

    def truncate_to(self, offset: int) -> bool:
        """Drop every batch that holds or follows `offset`; whether anything changed."""
        raise NotImplementedError

    def truncate_and_start_at(self, offset: int) -> None:
        """Drop everything; the log then starts and ends at `offset`."""
        raise NotImplementedError

    def advance_log_start_offset(self, offset: int) -> ErrorCode:
        """Raise the start; OFFSET_OUT_OF_RANGE above the high watermark."""
        raise NotImplementedError

    def roll(self) -> Segment:
        """Start a new active segment at the log's end."""
        raise NotImplementedError

    def flush(self, up_to: int | None = None) -> None:
        """Make everything below `up_to` (default: the end) durable, here and now; waits for the device."""
        raise NotImplementedError

    def prepare_flush(self, up_to: int | None = None) -> Callable[[], None]:
        """As `flush`, as work for a thread; `recovery_point` moves when it is done."""
        raise NotImplementedError

    def delete_old_segments(self, deletable: Callable[[Segment, Segment | None], bool], reason: str) -> int:
        """Delete segments from the oldest while `deletable(segment, next)` and all is below the high watermark."""
        raise NotImplementedError

    def replace_segments(self, new: list[Segment], old: list[Segment]) -> None:
        """Put rewritten (`.cleaned`) segments in the place of `old` ones, atomically with respect to crashes."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what a clean start needs (snapshot, trimmed indexes, epochs), sync, and give all handles back."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Give all handles back and write nothing: what is left of a log whose directory is offline."""
        raise NotImplementedError
