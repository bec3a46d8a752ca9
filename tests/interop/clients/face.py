"""The face: what a story needs of a client. Each client's module implements it with that client's own calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 60
"""How long a client may take for anything, on a machine that is busy with something else."""


@dataclass(frozen=True)
class Sent:
    """A record to send."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


@dataclass(frozen=True)
class Got:
    """A record as the client gave it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...] = field(default=())


@dataclass(frozen=True)
class Membership:
    """How somebody is a member of a group."""

    group: str
    topic: str
    session_timeout_ms: int = 30_000
    reset: str = "earliest"
    """Where to begin without a commit; or "latest"."""
    instance: str | None = None
    """A static member's name (KIP-345)."""
    cooperates: bool = False
    """Gives up in a rebalance only what goes to others (KIP-429)."""


class TooLarge(Exception):
    """The broker said MESSAGE_TOO_LARGE."""


class Member(ABC):
    """One consumer of a group, polled by a thread of its own so that rebalances go on by themselves."""

    @abstractmethod
    def assignment(self) -> frozenset[tuple[str, int]]: ...

    @abstractmethod
    def received(self) -> list[Got]: ...

    @abstractmethod
    def commit(self, *, wait: bool) -> None:
        """Commit the positions, synchronously or in the background."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group."""


class Client(ABC):
    """One client library against one cluster."""

    name: str
    codecs: tuple[str, ...] = ("none", "gzip", "snappy", "lz4", "zstd")
    can_cooperate: bool = True
    """Whether the library has cooperative rebalances."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    @abstractmethod
    def produce(
        self,
        topic: str,
        records: Sequence[Sent],
        *,
        acks: str = "all",
        codec: str = "none",
        idempotent: bool = False,
        max_request_bytes: int = 1_000_000,
    ) -> list[tuple[int, int]]:
        """Send in order, wait for all; (partition, offset) of each. Raises TooLarge."""

    @abstractmethod
    def consume(self, topic: str, partitions: Sequence[int], count: int, *, start: str | int = "earliest") -> list[Got]:
        """Read `count` records without a group from "earliest", "latest" (returns none), or an offset."""

    @abstractmethod
    def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """The first offset at or after a time."""

    @abstractmethod
    def produce_after_seek_to_end(self, topic: str, value: bytes) -> list[Got]:
        """Take position at the end of partition 0, produce `value`, and return the first record that comes."""

    def join(self, group: str, topic: str, **how: Any) -> Member:
        """A new member; `how` are fields of Membership."""
        return self.member(Membership(group, topic, **how))

    @abstractmethod
    def member(self, membership: Membership) -> Member: ...

    @abstractmethod
    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None: ...

    @abstractmethod
    def delete_topic(self, name: str) -> None: ...

    @abstractmethod
    def list_topics(self) -> set[str]: ...

    @abstractmethod
    def partition_count(self, topic: str) -> int: ...

    @abstractmethod
    def topic_config(self, topic: str) -> Mapping[str, Any]: ...

    @abstractmethod
    def broker_config(self, broker_id: int) -> Mapping[str, Any]: ...

    @abstractmethod
    def broker_ids(self) -> set[int]: ...

    @abstractmethod
    def groups(self) -> set[str]: ...

    @abstractmethod
    def group_members(self, group: str) -> int: ...

    @abstractmethod
    def committed(self, group: str, topic: str) -> dict[int, int]: ...
