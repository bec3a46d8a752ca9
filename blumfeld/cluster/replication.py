"""Following one leader: what to ask, and what its answers do to the logs here. Pure: the network is `fetcher.py`'s.

Owns the fetch session with one leader broker and the partitions that are fetched from it, some of them delayed after an
error.

Must never know connections or tasks. Partitions are changed by answers alone, synchronously.

Invariants
- An answer changes a partition only while it is fetched from this leader in the leader epoch that was asked in, and
  only when its log ends exactly where the leader was told it ends: late and repeated answers do nothing.
- Divergence (KIP-595): the log is cut to what both have, and asked again from there. A log is dropped as a whole only
  when the leader's begins above our end; when the leader's ends below ours, ours is cut (unclean election).
- A partition in trouble is delayed by itself; the others go on.
- Where the flush policy asks for it, nothing is fetched on before what was written is on the device: the leader takes
  the next fetch for a promise.
- Partitions that do not move cost nothing: neither in requests nor in answers nor here.

A partition in here:

    (absent) ──follow──> fetched ──error──> delayed ──time──> fetched
                            │└──OFFSET_OUT_OF_RANGE──> lost ──ListOffsets──> fetched
                            └──fenced──> parked, until metadata says `follow` again
"""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.fetch_session import FetchSession
from blumfeld.cluster.partition import Role
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blumfeld.cluster.partition import Partition
    from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse

_log = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.02
"""After an error; doubles up to replica.fetch.backoff.ms. Most errors mean that the leader is a moment behind us."""

SESSION_ERRORS: Final = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    }
)


class FetchOptions:
    """How followers fetch: the replica.fetch.* properties."""

    __slots__ = ("backoff_s", "max_bytes", "max_wait_ms", "min_bytes", "response_max_bytes")

    def __init__(
        self,
        *,
        max_wait_ms: int = 500,
        min_bytes: int = 1,
        max_bytes: int = 1 << 20,
        response_max_bytes: int = 10 << 20,
        backoff_s: float = 1.0,
    ) -> None:
        self.max_wait_ms = max_wait_ms
        self.min_bytes = min_bytes
        self.max_bytes = max_bytes
        self.response_max_bytes = response_max_bytes
        self.backoff_s = backoff_s


class _State:
    """One partition that is fetched."""

    __slots__ = ("delay_s", "leader_epoch", "ready_at", "since")

    def __init__(self, leader_epoch: int, since: int) -> None:
        self.leader_epoch = leader_epoch
        self.since = since
        """Answers to requests up to this number are not for it."""
        self.delay_s = 0.0
        self.ready_at: float | None = None
        """When it is fetched again; None: it is fetched."""


class Replication:
    """The partitions that this broker fetches from one leader.

    Args:
        node_id: this broker.
        options: see `FetchOptions`.
        flush: called with a partition and the offset up to which it must be flushed; `flushed` is to be called then.
    """

    def __init__(
        self, node_id: int, options: FetchOptions, flush: Callable[[Partition, int], None] | None = None
    ) -> None:
        self._node_id = node_id
        self._options = options
        self._flush = flush
        self._session = FetchSession(options.max_bytes)
        self._states: dict[Partition, _State] = {}
        self._by_key: dict[tuple[bytes, int], Partition] = {}
        self._delayed: list[tuple[float, int, Partition]] = []
        self._sequence = 0
        self._lost: dict[Partition, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    # --- what is fetched ---------------------------------------------------------------------------------------

    def follow(self, partition: Partition) -> None:
        """Fetch it from now on, in its present leader epoch."""
        self._states[partition] = _State(partition.leader_epoch, self._session.number)
        self._by_key[partition.topic_id, partition.index] = partition
        self._lost.pop(partition, None)
        self._session.add(partition)

    def unfollow(self, partition: Partition) -> None:
        """Fetch it no more."""
        if self._states.pop(partition, None) is not None:
            del self._by_key[partition.topic_id, partition.index]
            self._lost.pop(partition, None)
            self._session.remove(partition)

    def partitions(self) -> list[Partition]:
        """All that are followed, delayed ones included."""
        return list(self._states)

    @property
    def may_overtake(self) -> bool:
        """Whether the leader should hear at once what a request in flight does not say.

        A second request of the same session, on another connection, makes it answer the first (see `fetcher.py`).
        """
        return self._session.is_established and self._session.has_additions

    # --- asking ------------------------------------------------------------------------------------------------

    def next_request(self, broker_epoch: int, now: float) -> FetchRequest | None:
        """The next request, None when there is nothing to fetch now (see `next_ready`)."""
        self._wake(now)
        if not len(self._session):
            return None
        options = self._options
        return self._session.build(
            replica_id=self._node_id,
            broker_epoch=broker_epoch,
            max_wait_ms=options.max_wait_ms if self._session.is_established else 0,
            min_bytes=options.min_bytes,
            max_bytes=options.response_max_bytes,
        )

    @property
    def request_number(self) -> int:
        """Of the request built last: `answered` and `failed` want it back."""
        return self._session.number

    def next_ready(self) -> float | None:
        """When the next delayed partition is due."""
        return self._delayed[0][0] if self._delayed else None

    def _wake(self, now: float) -> None:
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            ready_at, _, partition = heapq.heappop(delayed)
            state = self._states.get(partition)
            if state is not None and state.ready_at == ready_at:
                state.ready_at = None
                self._session.add(partition)

    # --- answers -----------------------------------------------------------------------------------------------

    def failed(self) -> None:
        """The connection is gone: whatever was asked on it, ask anew."""
        self._session.reset()

    def answered(self, number: int, response: FetchResponse, now: float) -> list[Partition]:
        """Take one answer in; returns the partitions whose logs moved, to be settled."""
        if response.error_code != ErrorCode.NONE:
            if number == self._session.number:
                self._session.reset()
                if ErrorCode(response.error_code) not in SESSION_ERRORS:
                    _log.warning("a leader refuses to be fetched from: %s", ErrorCode(response.error_code).name)
                    for partition in list(self._states):
                        self._delay(partition, now)
            return []
        moved = [partition for partition, data in self._current(number, response) if self._take(partition, data, now)]
        if number == self._session.number:
            self._session.answered(response.session_id)
        return moved

    def _current(
        self, number: int, response: FetchResponse
    ) -> Iterator[tuple[Partition, FetchResponse.Topic.Partition]]:
        """What of the answer still concerns anybody: not what was overtaken, and answers an earlier position."""
        for topic in response.responses:
            for data in topic.partitions:
                partition = self._by_key.get((topic.topic_id, data.partition_index))
                if partition is None:
                    continue
                state = self._states[partition]
                told = self._session.told(partition)
                if (
                    number > state.since
                    and (told is None or number >= told.number)
                    and state.ready_at is None
                    and partition.role is Role.FOLLOWER
                    and partition.leader_epoch == state.leader_epoch
                ):
                    yield partition, data

    def _take(self, partition: Partition, data: FetchResponse.Topic.Partition, now: float) -> bool:
        """One partition's part; True when its log moved."""
        if data.error_code != ErrorCode.NONE:
            self._heed(partition, ErrorCode(data.error_code), now)
            return False
        told = self._session.told(partition)
        if told is None or told.offset != partition.fetch_position[0]:
            self._session.repeat(partition)  # the answer to an older question
            return False
        diverging = data.diverging_epoch
        if diverging.end_offset >= 0:
            return self._diverged(partition, diverging.epoch, diverging.end_offset, now)
        before = partition.log_end_offset
        result = partition.append_as_follower(
            data.records or b"", leader_high_watermark=data.high_watermark, leader_log_start=data.log_start_offset
        )
        if result.error is not ErrorCode.NONE:
            _log.error("cannot append what the leader sent to %r: %s %s", partition, result.error.name, result.message)
            self._delay(partition, now)
            return False
        self._states[partition].delay_s = 0.0
        if result.must_flush and self._flush is not None:
            self._states[partition].ready_at = float("inf")
            self._session.remove(partition)
            self._flush(partition, result.last_offset + 1)
        elif partition.log_end_offset != before or partition.log_start_offset != told.log_start_offset:
            self._session.add(partition)
        return True

    def flushed(self, partition: Partition) -> None:
        """A `flush` is done: the one that is waited for, or one of an earlier epoch, which came late."""
        state, log = self._states.get(partition), partition.log
        if state is not None and state.ready_at == float("inf") and log.recovery_point >= log.log_end_offset:
            state.ready_at = None
            self._session.add(partition)

    def _diverged(self, partition: Partition, epoch: int, end_offset: int, now: float) -> bool:
        """The leader's history of `epoch` ends at `end_offset`: keep what both have."""
        ours = partition.log.end_offset_for_epoch(epoch)
        keep = min(end_offset, partition.log_end_offset)
        if ours[0] >= 0:
            keep = min(keep, ours[1])
        _log.info("truncating %r to %d: the leader's epoch %d ends at %d", partition, keep, epoch, end_offset)
        return self._begin_again(partition, partition.truncate_to(keep), now)

    def _begin_again(self, partition: Partition, mended: bool, now: float) -> bool:
        """The log was cut: nothing that was asked before may be appended."""
        self._states[partition].since = self._session.number
        if mended:
            self._session.add(partition)
        else:
            self._delay(partition, now)
        return mended

    def _heed(self, partition: Partition, error: ErrorCode, now: float) -> None:
        if error is ErrorCode.OFFSET_OUT_OF_RANGE:
            self._session.remove(partition)
            self._lost[partition] = partition.leader_epoch
        elif error is ErrorCode.FENCED_LEADER_EPOCH:
            self._session.remove(partition)  # a newer epoch is on its way to us in the metadata
        else:
            self._delay(partition, now)

    def _delay(self, partition: Partition, now: float) -> None:
        """Leave it alone for a while: longer each time, up to replica.fetch.backoff.ms."""
        state = self._states[partition]
        state.delay_s = min(max(state.delay_s * 2, FIRST_DELAY_S), self._options.backoff_s)
        state.ready_at = now + state.delay_s
        self._session.remove(partition)
        self._sequence += 1
        heapq.heappush(self._delayed, (state.ready_at, self._sequence, partition))

    # --- partitions out of the leader's range ------------------------------------------------------------------

    def lost(self) -> list[Partition]:
        """Partitions whose offset the leader does not have: look up where its log lies, then call `located`."""
        return list(self._lost)

    def located(self, partition: Partition, leader_start: int, leader_end: int, now: float) -> bool:
        """The leader's log is [start, end): mend ours; True when it moved."""
        if not self._still_lost(partition):
            return False
        end = partition.log_end_offset
        if leader_end < end:
            _log.warning(
                "truncating %r to %d, the leader's end: an unclean election lost the rest", partition, leader_end
            )
            return self._begin_again(partition, partition.truncate_to(leader_end), now)
        if leader_start > end:
            _log.warning("dropping %r: the leader's log starts at %d", partition, leader_start)
            return self._begin_again(partition, partition.start_over_at(leader_start), now)
        self._delay(partition, now)  # it was not the range: our epochs are unknown there, say
        return False

    def not_located(self, partition: Partition, now: float) -> None:
        """The leader did not say: ask again later."""
        if self._still_lost(partition):
            self._delay(partition, now)

    def _still_lost(self, partition: Partition) -> bool:
        epoch = self._lost.pop(partition, None)
        return epoch is not None and epoch == partition.leader_epoch and partition.role is Role.FOLLOWER
