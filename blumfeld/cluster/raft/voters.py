"""Who may vote: replicas by id and directory, their endpoints, and the set they form.

Owns the voter set and its history along the log. Knows nothing of elections. A replica is its node id *and* the id of
the directory that holds its log (KIP-853): a node whose disk was replaced is a different replica, and its votes and
fetches do not count as the old one's. In a static set (kraft.version 0) directory ids are unknown and match any.

Invariant: a voter set is never changed, only replaced; the set in force is the last one written to the log, committed
or not, so every change of it follows the log's appends and truncations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from blumfeld.protocol.primitives import ZERO_UUID


class ReplicaKey(NamedTuple):
    """A replica: node id and directory id; ZERO_UUID where the directory is unknown."""

    id: int
    directory_id: bytes = ZERO_UUID


class Endpoint(NamedTuple):
    """Where a node listens, under the listener's name."""

    name: str
    host: str
    port: int


class Voter(NamedTuple):
    """One voter: its key, its controller endpoints and the kraft.version range it supports."""

    key: ReplicaKey
    endpoints: tuple[Endpoint, ...]
    min_version: int = 0
    max_version: int = 1

    @property
    def id(self) -> int:
        return self.key.id


class VoterSet:
    """An immutable set of voters, by node id."""

    __slots__ = ("_voters",)

    def __init__(self, voters: Iterable[Voter] = ()) -> None:
        self._voters = {voter.key.id: voter for voter in sorted(voters)}

    def __iter__(self) -> Iterator[Voter]:
        return iter(self._voters.values())

    def __len__(self) -> int:
        return len(self._voters)

    def __contains__(self, key: ReplicaKey) -> bool:
        """Whether that very replica votes; a directory unknown on the voter's side matches any."""
        voter = self._voters.get(key.id)
        return voter is not None and voter.key.directory_id in (ZERO_UUID, key.directory_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VoterSet) and self._voters == other._voters

    def __hash__(self) -> int:
        return hash(tuple(self._voters.values()))

    def __repr__(self) -> str:
        return f"VoterSet({list(self._voters.values())})"

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self._voters)

    @property
    def majority(self) -> int:
        """How many voters decide."""
        return len(self._voters) // 2 + 1

    def get(self, node_id: int) -> Voter | None:
        return self._voters.get(node_id)

    def is_only(self, key: ReplicaKey) -> bool:
        """Whether that replica votes alone."""
        return len(self._voters) == 1 and key in self

    def with_voter(self, voter: Voter) -> VoterSet:
        """The set in which `voter` replaces the one of its id, or joins."""
        return VoterSet({**self._voters, voter.key.id: voter}.values())


NO_VOTERS = VoterSet()
