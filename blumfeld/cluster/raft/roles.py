"""The roles a replica can be in, each with the state that lives as long as the role does.

Owns the data; what moves a replica from one role to another is in `election.py`, `replication.py` and `core.py`.

    Unattached ──election timeout──▶ Prospective ──majority of pre-votes──▶ Candidate ──majority of votes──▶ Leader
        ▲  ▲                          │   ▲                                   │                               │
        │  └──lost, no known leader───┘   └────lost, or timed out─────────────┘        shutdown, resign, or no majority
        │                             │                                                of fetches in time     │
        │      lost, leader known     ▼                                                                       ▼
        │                          Follower ──fetch timeout──▶ Prospective                                 Resigned
        └───────────────────────────── a higher epoch without a known leader, from any role ◀─────────────────┘

A leader heard of, in the same epoch or a higher one, makes a Follower of any role but Leader and Resigned in that
epoch. Observers are Unattached or Follower only.

Invariant: one vote an epoch. `voted` survives every change of role within the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import FetchRequest
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, VoterSet

NEVER = float("inf")


@dataclass(slots=True)
class Ballots:
    """The votes of one (pre-)election, among the voters at its beginning."""

    voters: VoterSet
    granted: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    unreachable: set[int] = field(default_factory=set)
    """Nobody listens there. They are asked again, but once somebody has said no, there is no waiting for them."""

    @property
    def is_won(self) -> bool:
        return len(self.granted) >= self.voters.majority

    @property
    def is_lost(self) -> bool:
        """Whether too few voters are left to win."""
        out_of_reach = len(self.rejected) + (len(self.unreachable) if self.rejected else 0)
        return len(self.voters) - out_of_reach < self.voters.majority

    def count(self, voter_id: int, granted: bool) -> None:
        """That voter has answered."""
        self.unreachable.discard(voter_id)
        (self.granted if granted else self.rejected).add(voter_id)

    def is_open(self, voter_id: int) -> bool:
        """Whether that voter has not answered."""
        return voter_id not in self.granted and voter_id not in self.rejected


@dataclass(slots=True)
class Unattached:
    """Knows of no leader that it could follow: one of a higher epoch is being elected, or its address is unknown."""

    epoch: int
    election_deadline: float
    leader_id: int | None = None
    voted: ReplicaKey | None = None


@dataclass(slots=True)
class Prospective:
    """Asks whether an election would be won, before disturbing anybody with a new epoch (KIP-996)."""

    epoch: int
    election_deadline: float
    ballots: Ballots
    leader_id: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    voted: ReplicaKey | None = None


@dataclass(slots=True)
class Candidate:
    """Voted for itself in a new epoch and asks for the others' votes."""

    epoch: int
    election_deadline: float
    ballots: Ballots
    voted: ReplicaKey
    leader_id: None = None
    lost: bool = False


@dataclass(slots=True)
class Download:
    """A snapshot on its way here: so many bytes have come."""

    id: OffsetAndEpoch
    position: int = 0


@dataclass(slots=True)
class Follower:
    """Fetches from the epoch's leader.

    `has_fetched`: the leader answered in this epoch, so pre-votes against it are refused; `suspected`: there is
    evidence, or its own word, that it is gone, so they are not.
    """

    epoch: int
    leader_id: int
    endpoints: tuple[Endpoint, ...]
    fetch_deadline: float
    voted: ReplicaKey | None = None
    has_fetched: bool = False
    suspected: bool = False
    download: Download | None = None


@dataclass(slots=True)
class Progress:
    """What a leader knows of another replica. Times are the leader's; −1: never."""

    key: ReplicaKey
    end_offset: int = -1
    last_fetch: float = -1
    last_caught_up: float = -1
    leader_end_at_last_fetch: int = -1
    acknowledged: bool = False


@dataclass(slots=True)
class Parked:
    """A fetch that found nothing new and waits."""

    request: FetchRequest
    deadline: float


@dataclass(slots=True)
class Leader:
    """Won its epoch. `high_watermark` is None until a record of its own epoch is committed."""

    epoch: int
    leader_id: int
    voted: ReplicaKey
    epoch_start_offset: int
    granting_ids: tuple[int, ...]
    check_quorum_deadline: float
    begin_quorum_epoch_deadline: float
    voters: dict[int, Progress] = field(default_factory=dict)
    observers: dict[ReplicaKey, Progress] = field(default_factory=dict)
    fetched_ids: set[int] = field(default_factory=set)
    parked: dict[Any, Parked] = field(default_factory=dict)
    high_watermark: int | None = None

    def progress_of(self, key: ReplicaKey, voters: VoterSet) -> Progress:
        """The progress of a replica, remembered among the voters if it is one."""
        if key in voters:
            progress = self.voters.get(key.id)
            if progress is None:
                progress = self.voters[key.id] = Progress(key)
            return progress
        progress = self.observers.get(key)
        if progress is None:
            progress = self.observers[key] = Progress(key)
        return progress


@dataclass(slots=True)
class Resigned:
    """Led this epoch and gave up: tells the voters, and votes for nobody in it."""

    epoch: int
    leader_id: int
    voted: ReplicaKey
    election_deadline: float
    preferred: tuple[ReplicaKey, ...]
    unacknowledged: set[int]


Role: TypeAlias = Unattached | Prospective | Candidate | Follower | Leader | Resigned
