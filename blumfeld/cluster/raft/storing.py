"""The replica's files: its log, its snapshots, its election state.

Owns `__cluster_metadata-0`: opening it after any kind of stop, and the writes that the core asks for. Blocking; what
waits for the device says so and is meant for a thread.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from blumfeld.cluster.raft import batches, checkpoint, quorum_state
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT, LogOutline
from blumfeld.cluster.raft.recovery import recover
from blumfeld.cluster.raft.rpc_elections import TOPIC_ID
from blumfeld.env import paths
from blumfeld.env.disk import make_durable_directories
from blumfeld.protocol.batch import CorruptBatch
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.epochs import FILE_NAME as EPOCHS
from blumfeld.storage.log import Log
from blumfeld.storage.log_config import LogConfig
from blumfeld.storage.segment import SUFFIXES
from blumfeld.storage.snapshots import SUFFIX as PRODUCER_SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blumfeld.cluster.raft.events import AdvanceLogStart, AppendEpochStart, AppendFetched
    from blumfeld.cluster.raft.options import RaftOptions
    from blumfeld.cluster.raft.voters import VoterSet
    from blumfeld.env.environment import Env
    from blumfeld.protocol.primitives import Buffer
    from blumfeld.storage.results import AppendResult
    from blumfeld.storage.segment import Segment

_READ_BYTES = 4 << 20
_ROLL_BYTES = 1 << 20


class RaftStorage:
    """What one replica has on disk."""

    def __init__(self, env: Env, directory: str, options: RaftOptions) -> None:
        self._clock = env.clock
        self._disk = env.disk
        self._options = options
        self.directory = directory
        self.log: Log

    # ------------------------------------------------------------ opening, closing

    def open(self, static_voters: VoterSet) -> tuple[LogOutline, quorum_state.ElectionState | None]:
        """Recover. Waits for the device. Raises OSError, CorruptBatch, and what quorum_state and recovery raise."""
        disk, directory = self._disk, self.directory
        make_durable_directories(disk, directory)
        fetched = checkpoint.fetched_in(disk, directory)
        if fetched is not None:
            self._drop_log()
        snapshots = checkpoint.found_in(disk, directory)
        latest = max(snapshots, default=BOOTSTRAP_SNAPSHOT)
        options = self._options
        config = LogConfig(
            max_message_bytes=options.max_batch_bytes,
            retention_bytes=-1,
            retention_ms=-1,
            segment_bytes=options.segment_bytes,
            segment_ms=options.segment_ms,
            file_delete_delay_ms=0,
        )
        # Below the newest snapshot the log was flushed before the snapshot was; nothing there needs checking.
        log = self.log = Log.open(
            directory,
            config,
            disk,
            self._clock,
            recovery_point=latest.offset,
            log_start_offset=0 if fetched is None else fetched.offset,
            topic_id=TOPIC_ID,
        )
        if fetched is not None:
            log.flush()
            self._complete_reset(fetched)
            snapshots = checkpoint.found_in(disk, directory)
            latest = fetched
        recovered = recover(
            start_offset=log.log_start_offset,
            end_offset=log.log_end_offset,
            epochs=log.epochs.entries,
            snapshots=snapshots,
            control_batches=self._control_batches(max(latest.offset, log.log_start_offset)),
            static_voters=static_voters,
        )
        if recovered.reset_to is not None:
            log.truncate_and_start_at(recovered.reset_to)
        if recovered.advance_to is not None:
            self._advance(recovered.advance_to)
        self.remove_snapshots(recovered.obsolete)
        log.flush()  # what is in the log counts as durable from here on
        return recovered.outline, self._read_election_state()

    def abandon(self) -> None:
        """Give the files back, whether or not they could be opened; nothing is written."""
        if hasattr(self, "log"):
            self.log.abandon()

    def _control_batches(self, offset: int) -> list[BatchInfo]:
        found = []
        while offset < self.log.log_end_offset:
            result = self.log.read(offset, _READ_BYTES)
            for info in batches.inspect((result.cold() if result.cold is not None else result).records):
                offset = info.last_offset + 1
                if info.voters is not None or info.kraft_version is not None:
                    found.append(info)
        return found

    def close(self) -> None:
        """Waits for the device."""
        self.log.close()

    # ------------------------------------------------------------ election state

    def _read_election_state(self) -> quorum_state.ElectionState | None:
        path = paths.join(self.directory, quorum_state.FILE_NAME)
        return quorum_state.decode(self._disk.read_file(path)) if self._disk.exists(path) else None

    def persist_election(self, contents: bytes) -> None:
        """Durable on return. Waits for the device."""
        self._disk.write_file_atomically(paths.join(self.directory, quorum_state.FILE_NAME), contents)

    # ------------------------------------------------------------ the log

    def append_epoch_start(self, effect: AppendEpochStart) -> None:
        self.append(batches.epoch_start_batch(effect, timestamp_ms=self._clock.time_ms()), effect.batch)

    def append(self, data: bytes, batch: BatchInfo) -> None:
        """Append a batch of the leader's own at its place."""
        result = self.log.append_as_leader(data, batch.epoch, now_ms=self._clock.time_ms(), origin="raft")
        self._check(result, batch)

    def append_fetched(self, effect: AppendFetched) -> None:
        size = sum(batch.size for batch in effect.batches)
        result = self.log.append_as_follower(memoryview(effect.records)[:size])
        self._check(result, effect.batches[-1])

    def _check(self, result: AppendResult, last: BatchInfo) -> None:
        if result.error is ErrorCode.KAFKA_STORAGE_ERROR:
            raise OSError(f"the metadata log is offline: {result.message or self.log.home.error}")
        assert result.error is ErrorCode.NONE, result.message
        assert self.log.log_end_offset == last.last_offset + 1, f"{self.log} should end after {last}"

    def truncate(self, offset: int) -> None:
        self.log.truncate_to(offset)

    def reset(self, id_: OffsetAndEpoch) -> None:
        """Empty the log, to start at a snapshot that `install_snapshot` has checked; older snapshots go.

        Wherever this stops, the next start does the rest: a log that ends below a snapshot would else be a damaged one.
        """
        self._disk.rename(self._path(id_) + checkpoint.PARTIAL, self._path(id_) + checkpoint.FETCHED)
        self._disk.sync_directory(self.directory)
        self.log.truncate_and_start_at(id_.offset)
        self._complete_reset(id_)

    def _complete_reset(self, id_: OffsetAndEpoch) -> None:
        """The log begins at a fetched snapshot now."""
        self.remove_snapshots([other for other in self._snapshot_ids() if other < id_])
        self._disk.rename(self._path(id_) + checkpoint.FETCHED, self._path(id_))
        self._disk.sync_directory(self.directory)

    def _drop_log(self) -> None:
        """Remove all of the log, of which a fetched snapshot has the rest: some of it may be gone already."""
        for name in self._disk.list(self.directory):
            if name.endswith((*SUFFIXES, PRODUCER_SNAPSHOT)) or name == EPOCHS:
                self._disk.remove(paths.join(self.directory, name))
        self._disk.sync_directory(self.directory)

    def advance_start(self, effect: AdvanceLogStart) -> None:
        self._advance(effect.offset)
        self.remove_snapshots(effect.obsolete)

    def _advance(self, offset: int) -> None:
        log = self.log
        log.update_high_watermark(max(log.high_watermark, offset))
        error = log.advance_log_start_offset(offset)
        assert error is ErrorCode.NONE, error

        def is_below(segment: Segment, following: Segment | None) -> bool:
            return following is not None and following.base_offset <= offset

        log.delete_old_segments(is_below, "a snapshot has what is in them")

    def roll_large_segment(self) -> None:
        """After a snapshot: what lies below it should be able to go, whole segments at a time."""
        if self.log.active.size >= _ROLL_BYTES:
            self.log.roll()

    def empty_trash(self) -> None:
        """Delete the files of segments that went. Waits for the device."""
        self.log.home.empty_trash(self._clock.time_ms())

    def flush(self, up_to: int) -> None:
        """Durable on return. Waits for the device."""
        self.log.flush(up_to)

    # ------------------------------------------------------------ snapshots

    def _path(self, id_: OffsetAndEpoch) -> str:
        return paths.join(self.directory, checkpoint.file_name(id_))

    def _snapshot_ids(self) -> list[OffsetAndEpoch]:
        names = [checkpoint.parse_name(name) for name in self._disk.list(self.directory)]
        return [parsed[0] for parsed in names if parsed is not None and parsed[1]]

    def open_snapshot(self, id_: OffsetAndEpoch) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(self._disk, self._path(id_), id_)

    def write_snapshot(self, id_: OffsetAndEpoch, contents: checkpoint.Contents) -> None:
        """Durable on return, and the log up to there too. Waits for the device."""
        self.log.flush(id_.offset)
        checkpoint.write(self._disk, self.directory, id_, contents, now_ms=self._clock.time_ms())

    def remove_snapshots(self, ids: Sequence[OffsetAndEpoch]) -> None:
        for id_ in ids:
            if self._disk.exists(self._path(id_)):
                self._disk.remove(self._path(id_))

    def read_snapshot(self, id_: OffsetAndEpoch, position: int, max_bytes: int) -> tuple[int, Buffer] | None:
        """(size of the file, bytes from `position` on), or None where it is gone. Any `position` that is not negative
        will do: systems refuse to read beyond what a file can have."""
        try:
            file = self._disk.open(self._path(id_), read_only=True)
        except FileNotFoundError:
            return None
        try:
            return file.size, file.read_at(position, max_bytes) if position < file.size else b""
        finally:
            file.close()

    def write_snapshot_part(self, id_: OffsetAndEpoch, position: int, data: Buffer) -> None:
        file = self._disk.open(self._path(id_) + checkpoint.PARTIAL, create=True)
        try:
            if position == 0:
                file.truncate(0)
            assert file.size == position, f"{file.path} has {file.size} bytes, not {position}"
            file.append(data)
        finally:
            file.close()

    def install_snapshot(self, id_: OffsetAndEpoch) -> checkpoint.Checkpoint:
        """Check a downloaded snapshot and make it durable; then `reset`. Waits for the device. Raises CorruptBatch."""
        partial = self._path(id_) + checkpoint.PARTIAL
        snapshot = checkpoint.Checkpoint(self._disk, partial, id_)
        snapshot.verify()
        file = self._disk.open(partial)
        try:
            file.sync()
        finally:
            file.close()
        return snapshot

    def abandon_snapshot(self, id_: OffsetAndEpoch) -> None:
        partial = self._path(id_) + checkpoint.PARTIAL
        if self._disk.exists(partial):
            self._disk.remove(partial)

    def to_be_cleaned(self, outline: LogOutline, now_ms: int) -> OffsetAndEpoch | None:
        """The snapshot at which retention wants the log to start; None while all is within bounds.

        Snapshots go from the oldest while log and snapshots together are too large, or it is too old; one stays.
        """
        options = self._options
        ids = outline.snapshots
        sizes = {id_: self._disk.size(self._path(id_)) for id_ in ids}
        total = self.log.size + sum(sizes.values())
        start: OffsetAndEpoch | None = None
        for oldest, following in pairwise(ids):
            too_large = 0 <= options.retention_bytes < total
            if not too_large:
                # Checkpoint 0-0 has no time of its own: it goes with the first that has.
                age = now_ms - self._timestamp(following if oldest == BOOTSTRAP_SNAPSHOT else oldest)
                if options.retention_ms < 0 or age <= options.retention_ms:
                    break
            total -= sizes[oldest]
            start = following
        return start

    def _timestamp(self, id_: OffsetAndEpoch) -> int:
        try:
            return self.open_snapshot(id_).last_contained_log_timestamp
        except CorruptBatch:
            return 0  # it is of no use to anybody: as old as can be
