"""The raft core: one replica of the metadata quorum as a pure state machine, `step(now, event) → effects`.

Owns the replica's role, what it knows of its peers, and the shape of its log; decides everything and does nothing. It
must never know sockets, clocks, files, records, or a source of chance but the one it was given. What happens is in
`election.py`, `replication.py` and `snapshot.py`; here are the dispatch and the changes of role.

Invariants
- At most one leader an epoch: one vote an epoch, durable before it is told (`PersistElection` comes first among a
  step's effects).
- A replica that was leader or candidate when it stopped has had its epoch: what it writes next is in a higher one, and
  cannot be mistaken for what it may have lost.
- Nothing assumes that the voter set stays as it is: it is read from the log's shape wherever it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from blumfeld.cluster.raft import replication
from blumfeld.cluster.raft.dispatch import EVENT_HANDLERS, POLLS
from blumfeld.cluster.raft.events import (
    AbandonSnapshot,
    AppendEpochStart,
    Complaint,
    Effect,
    Event,
    LeaderChanged,
    PersistElection,
    Reply,
    Send,
    ShutdownComplete,
)
from blumfeld.cluster.raft.listener import LeaderAndEpoch, OffsetAndEpoch
from blumfeld.cluster.raft.messages import (
    BatchInfo,
    FetchRequest,
    FetchResponse,
    Request,
    Response,
)
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.outline import NOT_IN_THE_LOG, LogOutline
from blumfeld.cluster.raft.peers import InFlight, PeerKey, Peers
from blumfeld.cluster.raft.quorum_state import ElectionState
from blumfeld.cluster.raft.roles import (
    NEVER,
    Ballots,
    Candidate,
    Follower,
    Leader,
    Prospective,
    Resigned,
    Role,
    Unattached,
)
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.primitives import ZERO_UUID


class RaftCore:
    """One replica. Feed it events in order; carry out every effect in order.

    Args:
        key: this replica: node id and directory id.
        endpoints: where it serves its peers; the first one's name is the listener by which peers are called.
        log: the shape of its log, as opened.
        persisted: the election state as read from disk; None on the first start.
        random: uniform in [0, 1): the only chance there is.
        bootstrap: endpoints to ask for the leader while no voter is known.
    """

    def __init__(
        self,
        key: ReplicaKey,
        *,
        endpoints: tuple[Endpoint, ...],
        log: LogOutline,
        persisted: ElectionState | None,
        random: Callable[[], float],
        options: RaftOptions,
        bootstrap: Sequence[Endpoint] = (),
    ) -> None:
        self.key = key
        self.endpoints = endpoints
        self.log = log
        self.options = options
        self.random = random
        self.bootstrap = tuple(bootstrap)
        self.peers = Peers(options.retry_backoff_ms)
        self.now = 0.0
        self.high_watermark = log.latest_snapshot.offset if log.latest_snapshot else 0
        self.shutting_down = False
        self.flushing = False
        self.installing: OffsetAndEpoch | None = None
        self.lost_elections = 0
        self.role: Role = Unattached(0, NEVER)
        self._persisted = persisted
        self._announced: LeaderAndEpoch | None = None
        self._shutdown_told = False
        self._effects: list[Effect] = []

    # ------------------------------------------------------------ the outside

    def start(self, now: float) -> list[Effect]:
        """Take up the role that the persisted state leaves open. To be called once, before any `step`."""
        self.now = now
        state = self._persisted or ElectionState()
        soon = now + (
            0 if self.log.voters.is_only(self.key) else self.random() * self.options.startup_election_timeout_ms
        )
        deadline = soon if self.is_voter else NEVER
        if state.epoch < self.log.last_epoch:
            self.role = Unattached(self.log.last_epoch, deadline)
        elif state.leader_id == self.key.id or (state.voted is not None and self.is_me(state.voted)):
            # It stands in no epoch twice, and leads none again: the next one it can lead is a higher one.
            self.role = Unattached(state.epoch, deadline, None, self.key)
        elif state.leader_id is not None and self._endpoints_of(state.leader_id):
            endpoints = self._endpoints_of(state.leader_id)
            fetch_deadline = now + self.options.fetch_timeout_ms
            self.role = Follower(state.epoch, state.leader_id, endpoints, fetch_deadline, state.voted)
        else:
            self.role = Unattached(state.epoch, deadline, state.leader_id, state.voted)
        replication.request_flush(self)
        return self._finish()

    def step(self, now: float, event: Event) -> list[Effect]:
        """Take note of `event` at `now` (milliseconds, never descending); what is to be done, in order."""
        if now > self.now:
            self.now = now
        EVENT_HANDLERS[type(event)](self, event)
        return self._finish()

    @property
    def next_deadline(self) -> float:
        """When a `Tick` is due at the latest; infinite where only events matter."""
        role = self.role
        deadline = self.peers.next_deadline(self.now)
        if isinstance(role, Leader):
            if not self.log.voters.is_only(self.key):
                deadline = min(deadline, role.begin_quorum_epoch_deadline, role.check_quorum_deadline)
            for parked in role.parked.values():
                deadline = min(deadline, parked.deadline)
        elif self.shutting_down or not self.is_voter:
            pass
        elif isinstance(role, Follower):
            deadline = min(deadline, role.fetch_deadline)
        else:
            deadline = min(deadline, role.election_deadline)
        return deadline

    @property
    def epoch(self) -> int:
        return self.role.epoch

    @property
    def is_voter(self) -> bool:
        return self.key in self.log.voters

    def is_me(self, voter: ReplicaKey) -> bool:
        """Whether that is this replica; in a static set only the id is known."""
        return voter.id == self.key.id and voter.directory_id in (ZERO_UUID, self.key.directory_id)

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The leader, as others should hear of it: one that resigned is none."""
        role = self.role
        return LeaderAndEpoch(None if isinstance(role, Resigned) else role.leader_id, role.epoch)

    @property
    def known_leader(self) -> tuple[int | None, tuple[Endpoint, ...]]:
        """The leader and its endpoints, for answers."""
        role = self.role
        if isinstance(role, Leader):
            return role.leader_id, self.own_endpoints
        if isinstance(role, Follower | Prospective):
            return role.leader_id, role.endpoints
        return (role.leader_id, ()) if isinstance(role, Unattached) else (None, ())

    @property
    def own_endpoints(self) -> tuple[Endpoint, ...]:
        """Where peers reach this replica: as configured, or else as the voter set has it."""
        return self.endpoints or self._endpoints_of(self.key.id)

    # ------------------------------------------------------------ effects

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def reply(self, token: Any, response: Response) -> None:
        self._effects.append(Reply(token, response))

    def complain(self, text: str) -> None:
        self._effects.append(Complaint(text))

    def _finish(self) -> list[Effect]:
        """Let timers and gates act, then collect the effects with what must be durable in front."""
        while True:
            role = self.role
            POLLS[type(role)](self, role)
            if self.role is role:
                break
        leader = self.leader_and_epoch
        if leader != self._announced:
            self._announced = leader
            start = self.role.epoch_start_offset if isinstance(self.role, Leader) else -1
            self._effects.append(LeaderChanged(leader, start))
        if self.shutting_down and not self._shutdown_told and self._may_shut_down():
            self._shutdown_told = True
            self._effects.append(ShutdownComplete())
        effects, self._effects = self._effects, []
        role = self.role
        state = ElectionState(role.epoch, role.leader_id, role.voted)
        if state != self._persisted:
            self._persisted = state
            effects.insert(0, PersistElection(state))
        return effects

    def _may_shut_down(self) -> bool:
        return not isinstance(self.role, Leader | Resigned) or (
            isinstance(self.role, Resigned) and not self.role.unacknowledged
        )

    # ------------------------------------------------------------ requests to others

    def send(self, peer: PeerKey, node_id: int | None, endpoint: Endpoint, request: Request) -> None:
        timeout_ms = self.options.request_timeout_ms
        if isinstance(request, FetchRequest):
            timeout_ms += request.max_wait_ms
        correlation_id = self.peers.sent(peer, request, self.now + timeout_ms)
        self._effects.append(Send(correlation_id, node_id, endpoint, request, timeout_ms))

    def send_to_voter(self, voter: Voter, request: Request) -> None:
        self.send(voter.id, voter.id, self.pick_endpoint(voter.endpoints), request)

    def pick_endpoint(self, endpoints: tuple[Endpoint, ...]) -> Endpoint:
        """The endpoint of the listener that this replica itself has, else the first."""
        if self.endpoints:
            for endpoint in endpoints:
                if endpoint.name == self.endpoints[0].name:
                    return endpoint
        return endpoints[0]

    def fetch_from_anybody(self) -> None:
        """Ask somebody at random; whoever does not lead says who does, and who does takes the fetch for what it is."""
        if self.peers.any_in_flight or not replication.may_fetch(self):
            return
        now = self.now
        voters = [voter for voter in self.log.voters if voter.id != self.key.id and voter.endpoints]
        ready: list[tuple[PeerKey, int | None, Endpoint]] = [
            (voter.id, voter.id, self.pick_endpoint(voter.endpoints))
            for voter in voters
            if self.peers.is_ready(voter.id, now)
        ]
        if not voters:
            ready = [(end, None, end) for end in self.bootstrap if self.peers.is_ready(end, now)]
        if ready:
            peer, node_id, endpoint = ready[int(self.random() * len(ready))]
            self.send(peer, node_id, endpoint, replication.fetch_request(self))

    def _endpoints_of(self, node_id: int) -> tuple[Endpoint, ...]:
        voter = self.log.voters.get(node_id)
        return voter.endpoints if voter else ()

    def random_election_timeout_ms(self) -> float:
        return self.options.election_timeout_ms * (1 + self.random())

    # ------------------------------------------------------------ what answers say of the leader

    def absorb(self, response: Response) -> bool | None:
        """Learn epoch and leader from an answer. None: it is for us to go on with; else whether it was any good."""
        error, epoch, leader_id, endpoints = response[:4]
        if leader_id == self.key.id and not isinstance(self.role, Leader):
            leader_id = None  # it led, before it resigned or restarted, and not all have heard
        if epoch < self.epoch or error == ErrorCode.UNKNOWN_LEADER_EPOCH:
            return True
        if epoch > self.epoch or error in (ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.NOT_LEADER_OR_FOLLOWER):
            return self._learn(epoch, leader_id, endpoints)
        if leader_id is not None and (self.role.leader_id is None or isinstance(self.role, Unattached)):
            if not self.accept_leader(epoch, leader_id, endpoints):
                return False
            return None if error == ErrorCode.NONE else True
        return None

    def _learn(self, epoch: int, leader_id: int | None, endpoints: tuple[Endpoint, ...]) -> bool:
        if leader_id is not None:
            return self.accept_leader(epoch, leader_id, endpoints)
        if epoch > self.epoch:
            self.become_unattached(epoch)
        return True

    def accept_leader(self, epoch: int, leader_id: int, endpoints: tuple[Endpoint, ...]) -> bool:
        """Somebody says who leads `epoch`, which is not below ours. Follow, if need be; False: it cannot be true."""
        role = self.role
        endpoints = endpoints or self._endpoints_of(leader_id)
        if leader_id == self.key.id and epoch == role.epoch and isinstance(role, Leader):
            return True
        if leader_id == self.key.id or (epoch == role.epoch and role.leader_id not in (None, leader_id)):
            self.complain(f"node {leader_id} is said to lead epoch {epoch}, but here it is {self.leader_and_epoch}")
            return False
        if epoch == role.epoch and role.leader_id is not None and not isinstance(role, Unattached):
            return True
        if endpoints:
            self.become_follower(epoch, leader_id, endpoints)
        elif epoch > role.epoch:
            self.become_unattached(epoch, leader_id=leader_id)
        return True

    def unexpected(self, response: Response, in_flight: InFlight) -> bool:
        self.complain(f"{response.error.name} from {in_flight.peer} to {type(in_flight.request).__name__}")
        return False

    # ------------------------------------------------------------ changes of role

    def _become(self, role: Role) -> None:
        """The one place where the role changes."""
        before = self.role
        assert role.epoch >= before.epoch
        self.role = role
        if isinstance(before, Leader):
            for token in before.parked:
                error = ErrorCode.NOT_LEADER_OR_FOLLOWER
                self.reply(token, FetchResponse(error, role.epoch, *self.known_leader))
        elif isinstance(before, Follower):
            self.abandon_download(before)
        self.peers.reset()

    def abandon_download(self, role: Follower) -> None:
        if role.download is not None:
            if role.download.position > 0:
                self.emit(AbandonSnapshot(role.download.id))
            role.download = None

    def give_up_on_leader(self, role: Follower) -> None:
        """The leader is gone, as far as evidence goes: wait for it no longer than a moment, and grant pre-votes.

        The moment is a random one, so that not all stand at once; an answer of the leader ends the suspicion.
        """
        role.suspected = True
        patience_ms = self.options.unreachable_timeout_ms * (0.2 + 0.8 * self.random())
        role.fetch_deadline = min(role.fetch_deadline, self.now + patience_ms)

    def _voted_in(self, epoch: int) -> ReplicaKey | None:
        return self.role.voted if epoch == self.role.epoch else None

    def become_unattached(self, epoch: int, *, leader_id: int | None = None) -> None:
        role = self.role
        if not self.is_voter:
            deadline = NEVER
        elif isinstance(role, Follower | Leader) or (isinstance(role, Prospective) and role.ballots.is_lost):
            deadline = self.now + self.random_election_timeout_ms()
        else:
            deadline = max(role.election_deadline, self.now)
        self._become(Unattached(epoch, deadline, leader_id, self._voted_in(epoch)))

    def become_follower(self, epoch: int, leader_id: int, endpoints: tuple[Endpoint, ...]) -> None:
        assert leader_id != self.key.id
        if not isinstance(self.role, Prospective):
            self.lost_elections = 0
        deadline = self.now + self.options.fetch_timeout_ms
        self._become(Follower(epoch, leader_id, endpoints, deadline, self._voted_in(epoch)))

    def become_prospective(self) -> None:
        assert self.is_voter
        leader_id, endpoints = self.known_leader
        ballots = Ballots(self.log.voters, {self.key.id})
        deadline = self.now + self.random_election_timeout_ms()
        self._become(Prospective(self.epoch, deadline, ballots, leader_id, endpoints, self.role.voted))

    def become_candidate(self) -> None:
        assert self.is_voter
        assert isinstance(self.role, Prospective)
        ballots = Ballots(self.log.voters, {self.key.id})
        deadline = self.now + self.random_election_timeout_ms()
        self._become(Candidate(self.epoch + 1, deadline, ballots, voted=self.key))

    def become_leader(self) -> None:
        """Open the epoch with its control batch; without a committed record of its own it commits nothing."""
        role = self.role
        assert isinstance(role, Candidate)
        assert role.ballots.is_won
        self.lost_elections = 0
        log = self.log
        granting_ids = tuple(sorted(role.ballots.granted))
        check_deadline = self.now + self.options.check_quorum_timeout_ms
        leader = Leader(role.epoch, self.key.id, self.key, log.end_offset, granting_ids, check_deadline, self.now)
        self._become(leader)
        batch = BatchInfo(log.end_offset, log.end_offset, role.epoch)
        me = log.voters.get(self.key.id)
        if log.kraft_version > 0 and me is not None:
            current = Voter(self.key, self.endpoints or me.endpoints)
            if log.voters_offset == NOT_IN_THE_LOG or current != me:
                voters = log.voters.with_voter(current)
                batch = batch._replace(
                    last_offset=batch.base_offset + 2, voters=voters, kraft_version=log.kraft_version
                )
        log.append(batch)
        self.emit(AppendEpochStart(batch, self.key.id, tuple(sorted(log.voters.ids)), granting_ids))
        replication.appended(self, leader)

    def become_resigned(self) -> None:
        """Stop leading; the voter whose log is longest is to go first."""
        role = self.role
        assert isinstance(role, Leader)
        voters = self.log.voters
        others = [voter.key for voter in voters if not self.is_me(voter.key)]
        others.sort(key=lambda key: (-role.progress_of(key, voters).end_offset, key.id))
        deadline = self.now + self.random_election_timeout_ms()
        ids = {key.id for key in others}
        self._become(Resigned(role.epoch, role.leader_id, role.voted, deadline, tuple(others), ids))
