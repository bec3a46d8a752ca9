"""One member of a classic group.

Owns what the member said of itself, its assignment, and whether it waits for a join or a sync. Must never know the
group.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from blumfeld.coordinator.decision import Ticket
    from blumfeld.protocol.messages.join_group import JoinGroupRequest
    from blumfeld.protocol.messages.offsets_log import GroupMetadataValue


class Client(NamedTuple):
    """Who sent a request: what members are shown as."""

    client_id: str
    host: str
    connection_id: int = -1


class MemberProtocol(NamedTuple):
    """A protocol (an assignor, for consumers) that a member can do, with its subscription under it."""

    name: str
    metadata: bytes


def distinct_protocols(protocols: Iterable[JoinGroupRequest.Protocol]) -> tuple[MemberProtocol, ...]:
    """The protocols in order of preference; one that is named twice counts once."""
    found: dict[str, MemberProtocol] = {}
    for protocol in protocols:
        found.setdefault(protocol.name, MemberProtocol(protocol.name, protocol.metadata))
    return tuple(found.values())


def rebalance_timeout_of(stored: GroupMetadataValue.Member) -> int:
    """The member's, in ms; the oldest records have none, and the session timeout serves for both."""
    return stored.session_timeout if stored.rebalance_timeout == -1 else stored.rebalance_timeout


class Member:
    """A member. `assignment` is empty until the leader of its generation has spoken."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "connection_id",
        "instance_id",
        "is_new",
        "join_ticket",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "sync_ticket",
    )

    def __init__(
        self,
        member_id: str,
        instance_id: str | None,
        client: Client,
        *,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: tuple[MemberProtocol, ...],
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client.client_id
        self.client_host = client.host
        self.connection_id = client.connection_id
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.join_ticket: Ticket | None = None
        self.sync_ticket: Ticket | None = None
        self.is_new = False
        """It has never been answered: it does not know its id, so it cannot send heartbeats."""

    def __repr__(self) -> str:
        return f"Member({self.member_id!r}, instance={self.instance_id!r})"

    @classmethod
    def of_record(cls, stored: GroupMetadataValue.Member, protocol: str | None) -> Member:
        """The member as the log keeps it: of its protocols, the one that was chosen."""
        return cls(
            stored.member_id,
            stored.group_instance_id,
            Client(stored.client_id, stored.client_host),
            rebalance_timeout_ms=rebalance_timeout_of(stored),
            session_timeout_ms=stored.session_timeout,
            protocols=(MemberProtocol(protocol or "", stored.subscription),),
            assignment=stored.assignment,
        )

    @property
    def is_static(self) -> bool:
        """Whether it keeps its place while it is away (KIP-345)."""
        return self.instance_id is not None

    @property
    def is_parked(self) -> bool:
        """It waits for our answer, so its silence is no failure."""
        return not self.is_new and (self.join_ticket is not None or self.sync_ticket is not None)

    def metadata(self, protocol: str | None) -> bytes | None:
        """Its subscription under `protocol`; None where it cannot do that."""
        for name, metadata in self.protocols:
            if name == protocol:
                return metadata
        return None
