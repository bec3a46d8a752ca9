"""A classic group: its state, its members, and what follows from them by counting.

Owns membership, votes and generations. Decides nothing and knows no requests: `join.py`, `sync.py` and
`rebalance.py` do. No step but taking a generation in costs more than O(1) in the number of members.

Invariants
- `generation`, `protocol_*`, `leader`, `state_timestamp_ms` and the members' assignments are those of the group's
  last record whenever the group is Empty or Stable; between, they belong to a rebalance that no record tells of.
- `static_members` maps every member's `instance_id` to that member; `awaiting_join` counts the members with a join
  ticket.
- `pending_joins` were given an id but have not joined with it (KIP-394); they are no members. `pending_syncs` are
  members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from blumfeld.coordinator.group.member import Member, MemberProtocol, rebalance_timeout_of
from blumfeld.coordinator.group.state import GroupState
from blumfeld.coordinator.group.subscription import CONSUMER_PROTOCOL_TYPE, subscribed_topics
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.coordinator.decision import Ticket
    from blumfeld.protocol.messages.offsets_log import GroupMetadataValue

_PREVIOUS_STATES = {
    GroupState.PREPARING_REBALANCE: {GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY},
    GroupState.COMPLETING_REBALANCE: {GroupState.PREPARING_REBALANCE},
}


class ClassicGroup:
    """One group, at first Empty."""

    __slots__ = (
        "_support",
        "_topics",
        "_topics_are_read",
        "awaiting_join",
        "generation",
        "group_id",
        "initial_rebalance_ms",
        "leader",
        "members",
        "metadata_bytes",
        "new_member_added",
        "pending_joins",
        "pending_syncs",
        "previous_state",
        "protocol_name",
        "protocol_type",
        "state",
        "state_timestamp_ms",
        "static_members",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.previous_state = GroupState.EMPTY
        self.state_timestamp_ms = -1
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.static_members: dict[str, str] = {}
        self.pending_joins: dict[str, None] = {}
        self.pending_syncs: dict[str, None] = {}
        self.awaiting_join = 0
        self.metadata_bytes = 0
        """At most so much of the group's record are the members' subscriptions."""
        self.new_member_added = False
        self.initial_rebalance_ms: tuple[int, int] | None = None
        """During the initial rebalance: the delay that runs, and how much more there may be."""
        self._support: dict[str, int] = {}
        self._topics: frozenset[str] | None = None
        self._topics_are_read = False

    # --- what the log says -----------------------------------------------------------------------------------------

    def replay(self, value: GroupMetadataValue) -> list[Member]:
        """Become what the record says: Stable, or Empty without members. Returns the members that are gone.

        Members that stay keep what only the living group knows: who waits, and the protocols that were not chosen.
        """
        protocol = value.protocol
        before, self.members = self.members, {}
        for stored in value.members:
            member = before.pop(stored.member_id, None)
            if member is None or member.metadata(protocol) != stored.subscription:
                member = _with_tickets(Member.of_record(stored, protocol), member)
            member.session_timeout_ms = stored.session_timeout
            member.rebalance_timeout_ms = rebalance_timeout_of(stored)
            member.assignment = stored.assignment
            self.members[member.member_id] = member
        self.protocol_type = value.protocol_type or None
        self.protocol_name = protocol
        self.generation = value.generation
        self.leader = value.leader
        self.state_timestamp_ms = value.current_state_timestamp
        self.previous_state = self.state
        self.state = GroupState.STABLE if self.members else GroupState.EMPTY
        self._recount()
        return list(before.values())

    def _recount(self) -> None:
        members = self.members.values()
        self.static_members = {m.instance_id: m.member_id for m in members if m.instance_id is not None}
        self.awaiting_join = sum(m.join_ticket is not None for m in members)
        self.pending_syncs = {member_id: None for member_id in self.pending_syncs if member_id in self.members}
        self.initial_rebalance_ms = None
        self._topics_are_read = False
        self._support = {}
        self.metadata_bytes = 0
        for member in members:
            self._count_protocols(member.protocols, 1)

    # --- membership ------------------------------------------------------------------------------------------------

    def add(self, member: Member, ticket: Ticket | None) -> None:
        """Take a member in; the first one decides the protocol type and leads."""
        assert member.member_id not in self.members
        if not self.members:
            self.leader = member.member_id
        if member.instance_id is not None:
            assert member.instance_id not in self.static_members
            self.static_members[member.instance_id] = member.member_id
        self.members[member.member_id] = member
        self._count_protocols(member.protocols, 1)
        self.await_join(member, ticket)
        self.pending_joins.pop(member.member_id, None)

    def remove(self, member_id: str) -> Member | None:
        """Let a member, or a pending one, go. If it led, another does."""
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.pop(member_id, None)
        member = self.members.pop(member_id, None)
        if member is None:
            return None
        self._count_protocols(member.protocols, -1)
        self.awaiting_join -= member.join_ticket is not None
        if member.instance_id is not None:
            self.static_members.pop(member.instance_id, None)
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        return member

    def update(
        self,
        member: Member,
        protocols: tuple[MemberProtocol, ...],
        *,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
    ) -> None:
        """What a member says of itself when it joins again."""
        self._count_protocols(member.protocols, -1)
        member.protocols = protocols
        self._count_protocols(protocols, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def rename_static(self, old_member_id: str, new_member_id: str) -> Member:
        """A static member came back: the same member under a new id."""
        member = self.remove_for_rename(old_member_id)
        member.member_id = new_member_id
        self.members[new_member_id] = member
        assert member.instance_id is not None
        self.static_members[member.instance_id] = new_member_id
        if self.leader == old_member_id:
            self.leader = new_member_id
        return member

    def remove_for_rename(self, member_id: str) -> Member:
        member = self.members.pop(member_id)
        self.pending_syncs.pop(member_id, None)
        self.awaiting_join -= member.join_ticket is not None
        member.join_ticket = member.sync_ticket = None
        member.is_new = False
        return member

    def static_member(self, instance_id: str | None) -> str | None:
        """The id under which that instance is a member."""
        return None if instance_id is None else self.static_members.get(instance_id)

    def await_join(self, member: Member, ticket: Ticket | None) -> None:
        """The member's join waits on `ticket` from now on; None: on nothing."""
        self.awaiting_join += (ticket is not None) - (member.join_ticket is not None)
        member.join_ticket = ticket

    def refusal(self, member_id: str, instance_id: str | None) -> ErrorCode:
        """Why a request in that member's name is refused; NONE if it is not."""
        if instance_id is not None:
            known = self.static_members.get(instance_id)
            if known is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if known != member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return ErrorCode.NONE if member_id in self.members else ErrorCode.UNKNOWN_MEMBER_ID

    @property
    def has_all_joined(self) -> bool:
        """Nobody is waited for any more before the next generation."""
        return self.awaiting_join == len(self.members) and not self.pending_joins

    @property
    def rebalance_timeout_ms(self) -> int:
        """How long the slowest member may take to join again."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    # --- generations -----------------------------------------------------------------------------------------------

    def move_to(self, state: GroupState, now_ms: int) -> None:
        """Enter a state of a rebalance."""
        assert self.state in _PREVIOUS_STATES[state], f"{self.group_id!r}: {self.state} → {state}"
        self.previous_state = self.state
        self.state = state
        self.state_timestamp_ms = now_ms

    def next_generation(self, now_ms: int) -> None:
        """All who will have joined: choose the protocol."""
        self.generation += 1
        self.protocol_name = self.chosen_protocol()
        self._topics_are_read = False
        self.pending_syncs = dict.fromkeys(self.members)
        self.move_to(GroupState.COMPLETING_REBALANCE, now_ms)

    def elect_leader(self) -> bool:
        """If the leader did not join again, let one lead that did. False if nobody did."""
        assert self.leader is not None
        if self.members[self.leader].join_ticket is not None:
            return True
        for member in self.members.values():
            if member.join_ticket is not None:
                self.leader = member.member_id
                return True
        return False

    def supports(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Whether somebody who can do the protocols `names` could be a member."""
        if self.state is GroupState.EMPTY:
            return bool(protocol_type) and any(True for _ in names)
        count = len(self.members)
        return self.protocol_type == protocol_type and any(self._support.get(name, 0) == count for name in names)

    def chosen_protocol(self, instead: Mapping[str, tuple[MemberProtocol, ...]] | None = None) -> str:
        """The protocol with most votes among those that all members can do.

        Args:
            instead: protocols of members, by id, that take the place of what they said before.
        """
        changed = instead or {}
        support = dict(self._support)
        for member_id, protocols in changed.items():
            _count(support, self.members[member_id].protocols, -1)
            _count(support, protocols, 1)
        candidates = {name for name, count in support.items() if count == len(self.members)}
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = _vote(changed.get(member.member_id, member.protocols), candidates)
            assert vote is not None, "every member passed `supports`"
            votes[vote] = votes.get(vote, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def _count_protocols(self, protocols: Sequence[MemberProtocol], change: int) -> None:
        _count(self._support, protocols, change)
        self.metadata_bytes += change * largest(protocols)
        self._topics_are_read = False

    # --- topics ----------------------------------------------------------------------------------------------------

    @property
    def is_consumer_group(self) -> bool:
        """Its members are consumers, so their subscriptions can be read."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def subscribed_topics(self) -> frozenset[str] | None:
        """All topics that consumers in the group subscribe to, None where that cannot be known."""
        if not self._topics_are_read:
            self._topics = self._read_subscriptions() if self.is_consumer_group else None
            self._topics_are_read = True
        return self._topics

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether the topic's offsets are in use. Unreadable subscriptions of consumers count as all topics."""
        topics = self.subscribed_topics()
        return self.is_consumer_group if topics is None else topic in topics

    def _read_subscriptions(self) -> frozenset[str] | None:
        if self.members and self.protocol_name is None:
            return None
        topics: set[str] = set()
        for member in self.members.values():
            metadata = member.metadata(self.protocol_name)
            if metadata is None:
                continue
            found = subscribed_topics(metadata)
            if found is None:
                return None
            topics |= found
        return frozenset(topics)


def largest(protocols: Iterable[MemberProtocol]) -> int:
    """How many bytes a member adds to the group's record at most."""
    return max((len(metadata) for _, metadata in protocols), default=0)


def _count(support: dict[str, int], protocols: Iterable[MemberProtocol], change: int) -> None:
    for name, _ in protocols:
        support[name] = support.get(name, 0) + change
        if not support[name]:
            del support[name]


def _vote(protocols: Iterable[MemberProtocol], candidates: Collection[str]) -> str | None:
    for name, _ in protocols:
        if name in candidates:
            return name
    return None


def _with_tickets(member: Member, living: Member | None) -> Member:
    if living is not None:
        member.join_ticket, member.sync_ticket = living.join_ticket, living.sync_ticket
        member.is_new = living.is_new
        member.connection_id = living.connection_id
    return member
