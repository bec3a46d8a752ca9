"""The one runtime of all coordinators: shards by partition, loading, deadlines.

Owns which partitions of an internal topic are coordinated here, the task that loads their logs, and the timer of
their deadlines. Must never know what machines decide about; a second runtime with another machine serves
transactions.

Loading replays the log from its start to its end in slices of a few milliseconds, so that the loop keeps serving. A
shard somebody asked for is loaded before the others. There is no snapshot: compaction keeps these logs short.

Invariants
- A partition has a shard exactly while this broker leads it.
- One timer for all deadlines; an idle runtime costs nothing.
- A loop that was stalled (or a process that was stopped) reads what has arrived before it lets sessions expire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from blumfeld.coordinator.deadlines import DeadlineQueue
from blumfeld.coordinator.decision import Decision, Machine, Timers
from blumfeld.coordinator.shard import RequestTicket, Shard, ShardTimers, State
from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.records import ControlType, control_type, read_records

if TYPE_CHECKING:
    from blumfeld.coordinator.shard_log import ShardLog
    from blumfeld.env.clock import Clock
    from blumfeld.protocol.primitives import Buffer

_log = logging.getLogger(__name__)

R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound=Machine)

_SLICE_SECONDS = 0.003
_RECORDS_PER_LOOK = 64
_DEADLINES_PER_TURN = 500
_STALL_MS = 500
_GRACE_MS = 100


class CoordinatorRuntime(Generic[M]):
    """Shards of one internal topic.

    Args:
        topic: its name, for the log.
        clock: wall clock for records, monotonic for deadlines.
        make_machine: makes the machine of a partition, given its log (to ask for limits) and its deadlines.
        write_timeout_ms: how long an answer waits for its records to be committed.
        load_buffer_bytes: how much is read at once while loading.
        codec: how batches are compressed.
    """

    def __init__(
        self,
        topic: str,
        clock: Clock,
        make_machine: Callable[[ShardLog, Timers], M],
        *,
        write_timeout_ms: int = 5000,
        load_buffer_bytes: int = 1 << 20,
        codec: int = 0,
    ) -> None:
        self._topic = topic
        self._clock = clock
        self._make_machine = make_machine
        self._write_timeout_ms = write_timeout_ms
        self._load_buffer_bytes = load_buffer_bytes
        self._codec = codec
        self._shards: dict[int, Shard[M]] = {}
        self._to_load: dict[int, Shard[M]] = {}
        self._loader: asyncio.Task[None] | None = None
        self._deadlines = DeadlineQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0
        self._in_grace = False
        self._stopped = False

    # --- leadership ----------------------------------------------------------------------------------------------

    def elected(self, index: int, log: ShardLog) -> None:
        """This broker leads the partition: load it. Where it has led it all along, and could, nothing changes."""
        standing = self._shards.get(index)
        if standing is not None and standing.state is State.FAILED:
            self.resigned(index)
        if index in self._shards or self._stopped:
            log.close()
            return
        shard = self._shards[index] = self._new_shard(index, log)
        if log.log_start_offset == log.log_end_offset:
            shard.activate()
            return
        self._to_load[index] = shard
        if self._loader is None:
            self._loader = asyncio.get_running_loop().create_task(self._load_all())

    def resigned(self, index: int) -> None:
        """This broker leads the partition no more: refuse those who wait, forget the state."""
        shard = self._shards.pop(index, None)
        self._to_load.pop(index, None)
        if shard is not None:
            shard.close()

    async def stop(self) -> None:
        """Refuse everybody and end the loading."""
        self._stopped = True
        for index in list(self._shards):
            self.resigned(index)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loader, self._loader = self._loader, None
        if loader is not None:
            loader.cancel()
            await asyncio.gather(loader, return_exceptions=True)

    # --- requests ------------------------------------------------------------------------------------------------

    def request(
        self,
        index: int,
        decide: Callable[[M, RequestTicket[R], int], Decision],
        refuse: Callable[[ErrorCode], R],
    ) -> R | asyncio.Future[R]:
        """Have the machine of partition `index` decide about a request.

        Args:
            decide: called with the machine, the request's ticket and the wall clock in ms.
            refuse: makes the response that carries an error code.

        Returns:
            The response, or a future of it where it waits.
        """
        shard = self._shards.get(index)
        if shard is None or shard.state is not State.ACTIVE:
            return refuse(self._why_not_active(index, shard))
        return shard.request(decide, refuse)

    def look(self, index: int, look: Callable[[M], T], refuse: Callable[[ErrorCode], T]) -> T:
        """Ask the machine of partition `index` something that writes nothing and need not wait for what is written."""
        shard = self._shards.get(index)
        if shard is None or shard.state is not State.ACTIVE:
            return refuse(self._why_not_active(index, shard))
        return look(shard.machine)

    def tell_all(self, decide: Callable[[M, int], Decision]) -> None:
        """Have every loaded machine decide about something nobody waits for."""
        now_ms = self._clock.time_ms()
        for machine, shard in list(self.machines()):
            shard.carry_out(decide(machine, now_ms))

    def machines(self) -> Iterator[tuple[M, Shard[M]]]:
        """Every loaded machine."""
        for shard in self._shards.values():
            if shard.state is State.ACTIVE:
                yield shard.machine, shard

    @property
    def is_loading(self) -> bool:
        """Whether a partition led here is not loaded yet."""
        return bool(self._to_load)

    @property
    def led(self) -> list[int]:
        """The partitions led here."""
        return sorted(self._shards)

    def _why_not_active(self, index: int, shard: Shard[M] | None) -> ErrorCode:
        if shard is None or shard.state is State.FAILED:
            return ErrorCode.NOT_COORDINATOR
        self._load_first(index)
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS

    # --- loading -------------------------------------------------------------------------------------------------

    def _new_shard(self, index: int, log: ShardLog) -> Shard[M]:
        timers: ShardTimers
        shard: Shard[M]

        def schedule(key: tuple[str, ...], delay_ms: int) -> None:
            self._schedule((shard, key), delay_ms)

        def cancel(key: tuple[str, ...]) -> None:
            self._deadlines.cancel((shard, key))

        timers = ShardTimers(schedule, cancel)
        shard = Shard(
            index,
            log,
            self._make_machine(log, timers),
            timers,
            self._clock,
            write_timeout_ms=self._write_timeout_ms,
            codec=self._codec,
        )
        return shard

    def _load_first(self, index: int) -> None:
        shard = self._to_load.pop(index, None)
        if shard is not None:
            self._to_load = {index: shard, **self._to_load}

    async def _load_all(self) -> None:
        try:
            while self._to_load:
                index, shard = next(iter(self._to_load.items()))
                try:
                    await self._load(shard)
                except Exception as error:  # noqa: BLE001  of a defect of ours, too: the others are loaded all the same
                    if self._shards.get(index) is shard:
                        is_defect = not isinstance(error, ProtocolError | OSError)
                        text = "%s-%d cannot be loaded and is not served: %s"
                        _log.error(text, self._topic, index, error, exc_info=is_defect)
                    shard.fail()
                if self._to_load.get(index) is shard:
                    del self._to_load[index]
        finally:
            self._loader = None

    async def _load(self, shard: Shard[M]) -> None:
        started = self._clock.monotonic()
        offset = shard.log.log_start_offset
        while self._shards.get(shard.index) is shard:
            if offset >= shard.log.log_end_offset:
                shard.activate()
                _log.info(
                    "%s-%d is loaded: %d offsets in %.0f ms",
                    self._topic,
                    shard.index,
                    offset - shard.log.log_start_offset,
                    (self._clock.monotonic() - started) * 1000,
                )
                return
            records = await shard.log.read(offset, self._load_buffer_bytes)
            if self._shards.get(shard.index) is not shard:
                return  # it went meanwhile, and its log with it
            if not len(records):
                raise OSError(f"the log ends at {offset}, before its end offset {shard.log.log_end_offset}")
            offset = await self._replay(shard, records, offset)

    async def _replay(self, shard: Shard[M], records: Buffer, offset: int) -> int:
        machine, clock = shard.machine, self._clock
        turn_ends = clock.monotonic() + _SLICE_SECONDS
        for batch in iterate_batches(records):
            if batch.is_control:
                kind = control_type(batch)
                if kind in (ControlType.ABORT, ControlType.COMMIT):
                    machine.replay_end_transaction(batch.producer_id, committed=kind == ControlType.COMMIT)
            else:
                producer_id = batch.producer_id if batch.is_transactional else -1
                for count, record in enumerate(read_records(batch)):
                    if record.offset >= offset and record.key is not None:
                        decoded = machine.decode(bytes(record.key), record.value)
                        if decoded is not None:
                            machine.replay(decoded, record.offset, producer_id)
                    if count % _RECORDS_PER_LOOK == 0 and clock.monotonic() >= turn_ends:
                        await asyncio.sleep(0)
                        turn_ends = clock.monotonic() + _SLICE_SECONDS
            offset = batch.next_offset
        return offset

    # --- deadlines -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Let happen what is due by the clock: the timer calls this, and tests that move a clock by hand."""
        now = self._now()
        try:
            for _ in range(_DEADLINES_PER_TURN):
                entry = self._deadlines.pop(now)
                if entry is None:
                    break
                assert isinstance(entry, tuple)
                shard, key = entry
                shard.expire(key)
        finally:
            self._arm()

    def clock_moved(self) -> None:
        """The clock was set forward: look again at what is due."""
        if self._deadlines.next_due() is not None:
            self._set_timer(self._now())

    def _schedule(self, key: tuple[Shard[M], tuple[str, ...]], delay_ms: int) -> None:
        due = self._now() + delay_ms
        self._deadlines.schedule(key, due)
        if self._timer is None or (due < self._timer_due and not self._in_grace):
            self._set_timer(due)

    def _arm(self) -> None:
        due = self._deadlines.next_due()
        if due is not None:
            self._set_timer(due)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, due: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        delay = max(due - self._now(), 0) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._now()
        if now - self._timer_due > _STALL_MS and not self._in_grace:
            self._in_grace = True
            self._set_timer(now + _GRACE_MS)
            return
        self._in_grace = False
        self.expire()

    def _now(self) -> int:
        return int(self._clock.monotonic() * 1000)
