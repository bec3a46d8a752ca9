"""The core's effects, carried out on the real log, disk and network.

Owns the table from effect to action. Decides nothing: what the core wants is done, and what comes of it is posted as an
event. Whatever waits for the device runs in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blumfeld.cluster.raft.batches import data_batch
from blumfeld.cluster.raft.checkpoint import Checkpoint
from blumfeld.cluster.raft.events import (
    AbandonSnapshot,
    AdvanceLogStart,
    AppendEpochStart,
    AppendFetched,
    AppendRecords,
    Complaint,
    Effect,
    Event,
    Flush,
    Flushed,
    HighWatermark,
    InstallSnapshot,
    LeaderChanged,
    Reply,
    ReplyWithRecords,
    ReplyWithSnapshot,
    ResetLog,
    Send,
    SnapshotInstalled,
    SnapshotRejected,
    Truncate,
    WriteSnapshotPart,
)
from blumfeld.protocol.batch import CorruptBatch
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.cluster.raft.calls import Calls
    from blumfeld.cluster.raft.core import RaftCore
    from blumfeld.cluster.raft.delivery import Delivery
    from blumfeld.cluster.raft.storing import RaftStorage
    from blumfeld.env.clock import Clock
    from blumfeld.storage.results import ReadResult

_log = logging.getLogger(__name__)

InThread = Callable[..., None]
"""`in_thread(work, *arguments, then=…)`: run blocking `work`, then call `then` with its result, on the loop."""


class Carrier:
    """Carries out the effects of one replica.

    Args:
        post: takes the events that effects end in.
        in_thread: see `InThread`.
        on_bytes: told how many bytes of committed batches were delivered.
    """

    def __init__(
        self,
        core: RaftCore,
        storage: RaftStorage,
        delivery: Delivery,
        calls: Calls,
        clock: Clock,
        *,
        post: Callable[[Event], None],
        in_thread: InThread,
        on_bytes: Callable[[int], None],
    ) -> None:
        self.core = core
        self.storage = storage
        self.delivery = delivery
        self.calls = calls
        self._clock = clock
        self._post = post
        self._in_thread = in_thread
        self._on_bytes = on_bytes

    def carry_out(self, effect: Effect) -> None:
        """Do what `effect` says. Raises OSError."""
        _ACTIONS[type(effect)](self, effect)

    def deliver(self) -> None:
        """Bring the listeners up to the high watermark."""
        self._on_bytes(self.delivery.deliver(self.storage.log, self.core.log, self.core.high_watermark))

    # ------------------------------------------------------------ the log

    def _append_records(self, effect: AppendRecords) -> None:
        data = data_batch(effect.batch, effect.payload, timestamp_ms=self._clock.time_ms())
        self.storage.append(data, effect.batch)

    def _append_epoch_start(self, effect: AppendEpochStart) -> None:
        self.storage.append_epoch_start(effect)

    def _append_fetched(self, effect: AppendFetched) -> None:
        self.storage.append_fetched(effect)

    def _truncate(self, effect: Truncate) -> None:
        _log.info("the log is cut at %d: the leader has something else there", effect.offset)
        self.storage.truncate(effect.offset)

    def _reset_log(self, effect: ResetLog) -> None:
        _log.info("the log begins anew at snapshot %s", effect.id)
        self.storage.reset(effect.id)

    def _advance_log_start(self, effect: AdvanceLogStart) -> None:
        self.storage.advance_start(effect)
        self._in_thread(self.storage.empty_trash)

    def _flush(self, effect: Flush) -> None:
        flushed = Flushed(effect.generation, effect.up_to)
        self._in_thread(self.storage.flush, effect.up_to, then=lambda _: self._post(flushed))

    def _high_watermark(self, effect: HighWatermark) -> None:
        self.storage.log.update_high_watermark(effect.offset)
        self.deliver()

    # ------------------------------------------------------------ talking

    def _send(self, effect: Send) -> None:
        self.calls.send(effect)

    def _reply(self, effect: Reply) -> None:
        effect.token(effect.response)

    def _reply_with_records(self, effect: ReplyWithRecords) -> None:
        def answer(result: ReadResult) -> None:
            if result.error:
                effect.token(effect.response._replace(error=result.error))
            else:
                effect.token(effect.response._replace(records=result.records))

        result = self.storage.log.read(effect.offset, effect.max_bytes)
        if result.cold is None:
            answer(result)
        else:
            self._in_thread(result.cold, then=answer)

    def _reply_with_snapshot(self, effect: ReplyWithSnapshot) -> None:
        def answer(part: tuple[int, Any] | None) -> None:
            response = effect.response
            if part is None:
                response = response._replace(error=ErrorCode.SNAPSHOT_NOT_FOUND, id=None)
            elif effect.position >= part[0]:
                response = response._replace(error=ErrorCode.POSITION_OUT_OF_RANGE)
            else:
                response = response._replace(size=part[0], data=part[1])
            effect.token(response)

        self._in_thread(self.storage.read_snapshot, effect.id, effect.position, effect.max_bytes, then=answer)

    def _leader_changed(self, effect: LeaderChanged) -> None:
        leader_id, epoch = effect.leader
        _log.info("epoch %d: %s", epoch, "no leader is known" if leader_id is None else f"node {leader_id} leads")
        self.delivery.leader_changed(effect)

    def _complain(self, effect: Complaint) -> None:
        _log.warning("%s", effect.text)

    # ------------------------------------------------------------ snapshots

    def _write_part(self, effect: WriteSnapshotPart) -> None:
        self.storage.write_snapshot_part(effect.id, effect.position, effect.data)

    def _install(self, effect: InstallSnapshot) -> None:
        def installed(snapshot: Checkpoint | None) -> None:
            if snapshot is None:
                self._post(SnapshotRejected(effect.id))
            else:
                self._post(SnapshotInstalled(effect.id, *snapshot.found))

        self._in_thread(self._check_and_install, effect, then=installed)

    def _check_and_install(self, effect: InstallSnapshot) -> Checkpoint | None:
        try:
            return self.storage.install_snapshot(effect.id)
        except CorruptBatch as error:
            _log.warning("the leader's snapshot %s: %s", effect.id, error)
            self.storage.abandon_snapshot(effect.id)
            return None

    def _abandon(self, effect: AbandonSnapshot) -> None:
        self.storage.abandon_snapshot(effect.id)


_ACTIONS: dict[type, Callable[[Carrier, Any], None]] = {
    AppendRecords: Carrier._append_records,
    AppendEpochStart: Carrier._append_epoch_start,
    AppendFetched: Carrier._append_fetched,
    Truncate: Carrier._truncate,
    ResetLog: Carrier._reset_log,
    AdvanceLogStart: Carrier._advance_log_start,
    Flush: Carrier._flush,
    HighWatermark: Carrier._high_watermark,
    Send: Carrier._send,
    Reply: Carrier._reply,
    ReplyWithRecords: Carrier._reply_with_records,
    ReplyWithSnapshot: Carrier._reply_with_snapshot,
    LeaderChanged: Carrier._leader_changed,
    Complaint: Carrier._complain,
    WriteSnapshotPart: Carrier._write_part,
    InstallSnapshot: Carrier._install,
    AbandonSnapshot: Carrier._abandon,
}
