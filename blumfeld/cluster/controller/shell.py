"""The controller of one node: runs deciders while its node leads the quorum, and waits while another does.

Owns the speculative image (committed metadata plus all that was appended since), the broker sessions, the answers
that wait for the high watermark, and the one timer of the periodic turns. Must never know what a decision means.

A request's way: decider(turn) → records appended by the raft replica → replayed at once onto the speculative image,
so that the next decision sees them → committed → answer released. What only reads waits too, for whatever it may have
read.

Invariants
- Deciders run one after the other, each on the image after the one before; there is no await in between.
- An answer is released only when all records that were appended before it are committed, and the loader has published
  them.
- On losing leadership everything speculative is dropped: waiting askers get NOT_CONTROLLER, the next term starts from
  committed metadata.
- A decider that fails changes nothing (it is pure); records that cannot be replayed stop the node.
- What asks for more than one batch may hold is refused: it must not cost the cluster its controller.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from blumfeld.cluster.controller.activation import activation_records
from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.decision import MAX_RECORDS_PER_OPERATION, Decision, Turn
from blumfeld.cluster.controller.periodic import Periodic, PeriodicDecider
from blumfeld.cluster.controller.refusals import refusal
from blumfeld.cluster.controller.sessions import BrokerSessions
from blumfeld.cluster.controller.table import SERVED, Answers, decider
from blumfeld.cluster.controller.watch import BrokerWatch
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import MetadataImage
from blumfeld.cluster.image.versions import encode_record
from blumfeld.cluster.raft.listener import BatchTooLargeError
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest
from blumfeld.protocol.messages.metadata_log import AbortTransactionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from blumfeld.cluster.controller.settings import ControllerSettings
    from blumfeld.cluster.loader import MetadataLoader
    from blumfeld.cluster.raft.listener import CommittedBatch, LeaderAndEpoch, Snapshot
    from blumfeld.cluster.raft.voters import VoterSet
    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.controller_registration import ControllerRegistrationRequest
    from blumfeld.protocol.schema import Record, Request, Response

_log = logging.getLogger(__name__)

_OWN_CONTEXT: Final = ControllerContext(0)


class Quorum(Protocol):
    """What the controller needs of the raft replica: `cluster.raft.driver.RaftDriver`."""

    def append(self, records: Sequence[bytes], epoch: int) -> int: ...

    def resign(self, epoch: int) -> None: ...

    def handle(self, request: Request, api_version: int | None = None) -> Awaitable[Response]: ...

    @property
    def voters(self) -> VoterSet: ...

    @property
    def high_watermark(self) -> int: ...

    @property
    def log_end_offset(self) -> int: ...


class _Waiting(NamedTuple):
    """An answer that waits until `offset` is committed."""

    offset: int
    future: asyncio.Future[Any]
    request: Request
    response: Any


class _Term(NamedTuple):
    """One time of being active."""

    epoch: int
    sessions: BrokerSessions
    periodic: Periodic


class QuorumController:
    """The controller of one node; a raft listener, to be registered after the loader.

    Args:
        env: clock, entropy and, for probing brokers, the network.
        settings: this controller's configuration.
        quorum: the raft replica of this node.
        loader: committed metadata.
        registration: what this controller announces itself with when it takes over (KIP-919); None: it does not.
        on_fault: called when the node must stop.
    """

    def __init__(
        self,
        env: Env,
        settings: ControllerSettings,
        quorum: Quorum,
        loader: MetadataLoader,
        *,
        registration: ControllerRegistrationRequest | None = None,
        on_fault: Callable[[str], None],
    ) -> None:
        self._env = env
        self._settings = settings
        self._quorum = quorum
        self._loader = loader
        self._registration = registration
        self._on_fault = on_fault
        self._term: _Term | None = None
        self._image: MetadataImage = loader.image
        self._last_appended = -1
        self._appending = False
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._watch = BrokerWatch(
            env, self._brokers, disconnected=self._broker_disconnected, unreachable=self.broker_unreachable
        )

    # What others ask.

    @property
    def is_active(self) -> bool:
        """Whether this node leads the quorum and its state is complete."""
        return self._term is not None

    @property
    def image(self) -> MetadataImage:
        """Metadata as the active controller sees it, appended but not yet committed records included."""
        return self._image

    def handle(self, request: Request, context: ControllerContext) -> Awaitable[Any]:
        """Answer a controller request once its records are committed. Refusals, NOT_CONTROLLER too, are error codes."""
        term = self._term
        key = ApiKey(type(request).KEY)
        decide = decider(key)
        if decide is None:
            assert SERVED[key].answers is Answers.RAFT, f"{type(request).__name__} is no request to the controller"
            return self._quorum.handle(request, context.api_version)
        if term is None:
            return _done(refusal(request, ErrorCode.NOT_CONTROLLER))
        if context.connection_id >= 0 and isinstance(request, BrokerHeartbeatRequest):
            self._watch.heard(request.broker_id, context.connection_id)
        try:
            decision = decide(self._turn(term, context), request)
        except Exception:  # noqa: BLE001  a pure function failed: nothing has changed
            _log.exception("the controller cannot decide %s", type(request).__name__)
            return _done(refusal(request, ErrorCode.UNKNOWN_SERVER_ERROR))
        return self._answer(term, request, decision)

    def broker_unreachable(self, broker_id: int) -> None:
        """There is positive evidence that the broker's process is gone: its session has 250 ms left."""
        if self._term is not None and self._term.sessions.shorten(broker_id, self._now()):
            _log.warning("broker %d refuses connections: fenced unless it is heard of", broker_id)
            self._arm()

    def _broker_disconnected(self, broker_id: int) -> None:
        if self._term is not None:
            self._term.sessions.out_of_touch(broker_id)

    def connection_lost(self, connection_id: int) -> None:
        """A connection to the controller listener has ended; if heartbeats came by it, look after their broker."""
        if self._term is not None:
            self._watch.lost(connection_id)

    async def stop(self) -> None:
        """Answer those who wait with NOT_CONTROLLER and end all activity."""
        self._resign()
        await self._watch.stop()

    # What the quorum tells.

    def on_commit(self, batches: Sequence[CommittedBatch]) -> None:
        """Release what waited for these records."""
        del batches
        if not self._appending:
            self._release()

    def on_load_snapshot(self, snapshot: Snapshot) -> None:
        """Nothing: the loader has it, and a leader is never given one."""
        del snapshot

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Take over or give up."""
        if leader.is_leader(self._settings.node_id):
            self._take_over(leader.epoch)
        else:
            self._resign()

    # One term.

    def _take_over(self, epoch: int) -> None:
        self._resign()
        if self._loader.has_failed:
            return
        now = self._now()
        self._settings = self._settings._replace(voter_ids=self._quorum.voters.ids)
        self._image = self._loader.image
        self._last_appended = self._quorum.log_end_offset - 1
        sessions = BrokerSessions(self._settings.session_timeout_s, own_id=self._settings.node_id)
        sessions.start(self._image.cluster, now)
        self._term = _Term(epoch, sessions, Periodic(self._settings, sessions, now))
        _log.info("controller %d is active in epoch %d", self._settings.node_id, epoch)
        records = activation_records(self._image, in_transaction=self._loader.in_transaction)
        if records and not self._append(self._term, records, atomic=True):
            return
        if self._registration is not None and self._term is not None:
            self._register_self(self._term, self._registration)
        for broker in self._image.cluster.brokers.values():
            if not broker.fenced and broker.id != self._settings.node_id:
                self._watch.probe(broker.id)
        self._arm()

    def _register_self(self, term: _Term, registration: ControllerRegistrationRequest) -> None:
        known = self._image.cluster.controllers.get(registration.controller_id)
        if known is None or known.incarnation_id != registration.incarnation_id:
            decide = decider(ApiKey.CONTROLLER_REGISTRATION)
            assert decide is not None
            self._append(term, decide(self._turn(term, _OWN_CONTEXT), registration).records, atomic=True)

    def _resign(self) -> None:
        if self._term is not None:
            _log.info("controller %d is active no more", self._settings.node_id)
        self._term = None
        self._image = self._loader.image
        self._watch.forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            if not entry.future.done():
                entry.future.set_result(refusal(entry.request, ErrorCode.NOT_CONTROLLER))

    def _turn(self, term: _Term, context: ControllerContext) -> Turn:
        return Turn(
            self._image,
            term.sessions,
            self._settings,
            self._env.entropy,
            context,
            self._now(),
            self._quorum.log_end_offset,
        )

    def _answer(self, term: _Term, request: Request, decision: Decision[Any]) -> Awaitable[Any]:
        try:
            if decision.records and not self._append(term, decision.records, atomic=decision.atomic):
                return _done(refusal(request, ErrorCode.NOT_CONTROLLER))
        except BatchTooLargeError as error:
            _log.warning("%s is refused: %s", type(request).__name__, error)
            return _done(refusal(request, ErrorCode.RECORD_LIST_TOO_LARGE, str(error)))
        self._arm()
        if self._last_appended < self._quorum.high_watermark:
            return _done(decision.response)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(self._last_appended, future, request, decision.response))
        return future

    def _append(self, term: _Term, records: list[Record], *, atomic: bool) -> bool:
        """Append and replay; False when this node leads no more. BatchTooLargeError: nothing was."""
        version = self._image.features.metadata_version
        step = len(records) if atomic else MAX_RECORDS_PER_OPERATION
        last = -1
        self._appending = True
        try:
            for start in range(0, len(records), step):
                batch = [encode_record(record, version) for record in records[start : start + step]]
                last = self._quorum.append(batch, term.epoch)
        except Exception as error:  # leadership lost, or a log that refuses: this term is over
            if atomic and isinstance(error, BatchTooLargeError):
                raise
            _log.warning("the controller cannot append, and resigns: %s", error)
            self._quorum.resign(term.epoch)
            self._resign()
            return False
        finally:
            self._appending = False
        try:
            # What an abort undoes has never been in this image.
            replayed = (record for record in records if not isinstance(record, AbortTransactionRecord))
            self._image = MetadataDelta(self._image).replay_all(replayed).apply(last, term.epoch)
        except Exception as error:
            self._on_fault(f"records of the controller cannot be replayed: {error}")
            raise
        self._last_appended = last
        term.periodic.appended(self._now())
        self._release()
        return True

    def _release(self) -> None:
        """Let go of answers whose records are committed."""
        committed = self._quorum.high_watermark
        while self._waiting and self._waiting[0].offset < committed:
            entry = self._waiting.popleft()
            if not entry.future.done():
                entry.future.set_result(entry.response)
        if self._loader.image.offset >= self._last_appended and not self._loader.in_transaction:
            self._image = self._loader.image  # equal, and shared with the broker of this process

    # Turns that nobody asks for.

    def _arm(self) -> None:
        """Have `_on_timer` called at the next deadline. A timer that is too early stays: it looks again."""
        term = self._term
        deadline = None if term is None else term.periodic.next_deadline(self._image)
        if deadline is None:
            return
        now = self._now()
        deadline = max(deadline, now)
        if self._timer is not None:
            if self._armed_for <= deadline:
                return
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = asyncio.get_running_loop().call_later(deadline - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        term = self._term
        if term is None:
            return
        now = self._now()
        for decide in term.periodic.on_time(self._image, now, self._armed_for):
            if not self._run(term, decide, now):
                return
        self._arm()

    def _run(self, term: _Term, decide: PeriodicDecider, now: float) -> bool:
        """Run one periodic decider; False when this term is over."""
        try:
            decision = decide(self._turn(term, _OWN_CONTEXT))
        except Exception:  # noqa: BLE001  nothing has changed, and the other turns go on
            _log.exception("the controller cannot decide %r", decide)
            return True
        if decision.records and not self._append(term, decision.records, atomic=decision.atomic):
            return False
        if decision.response:
            term.periodic.again(decide, now)
        return True

    def _brokers(self) -> MetadataImage:
        return self._image

    def _now(self) -> float:
        return self._env.clock.monotonic()


def _done(response: Response) -> Awaitable[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(response)
    return future
