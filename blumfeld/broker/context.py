"""What a handler is given: the broker it serves and the request's context.

Owns no state of its own. `Broker` is the composition root of one serving broker, made in `launch/`; handlers read its
parts and never construct them. `Member` is what a node without that role knows, too. `Context` lives as long as one
request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from blumfeld.broker.dispatch import Peer
    from blumfeld.broker.recently_fenced import RecentlyFenced
    from blumfeld.broker.sessions import FetchSessions
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.replicas import ReplicaManager
    from blumfeld.cluster.waiting import Purgatory
    from blumfeld.config.sources import Config
    from blumfeld.coordinator.groups import GroupCoordinator
    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.header import RequestHeader

_Response = TypeVar("_Response")
Reply: TypeAlias = _Response | Awaitable[_Response]
"""A handler's answer: the response itself, or an awaitable of it where it has to wait.

Where the connection breaks, the awaitable is cancelled: whoever completes it later looks whether it is done. (A handler
returns None, and nothing else, where Kafka sends no reply: Produce with acks=0.)"""


@dataclass(slots=True)
class Member:
    """A node of a cluster, whatever its roles. `image` is replaced whenever committed metadata has been applied."""

    env: Env
    config: Config
    node_id: int
    cluster_id: str
    image: MetadataImage
    controller: ControllerChannel


@dataclass(slots=True)
class Broker(Member):
    """The parts of one serving broker."""

    replicas: ReplicaManager
    groups: GroupCoordinator
    purgatory: Purgatory
    fetch_sessions: FetchSessions
    recently_fenced: RecentlyFenced


@dataclass(slots=True)
class Context:
    """One request's surroundings: its header, and the connection that it came by."""

    header: RequestHeader
    peer: Peer

    @classmethod
    def without_header(cls, peer: Peer, key: int, version: int) -> Context:
        """For a request whose header can't be decoded: ApiVersions of a version that is not known here."""
        from blumfeld.protocol.messages.header import RequestHeader

        return cls(
            RequestHeader(request_api_key=key, request_api_version=version, correlation_id=-1, client_id=None), peer
        )

    @property
    def api_version(self) -> int:
        return self.header.request_api_version

    @property
    def client_id(self) -> str:
        return self.header.client_id or ""

    @property
    def client_host(self) -> str:
        return self.peer.host

    @property
    def connection_id(self) -> int:
        return self.peer.connection_id

    @property
    def listener(self) -> str:
        return self.peer.listener

    @property
    def local_host(self) -> str:
        """The address that the client dialled."""
        return self.peer.local_host

    @property
    def local_port(self) -> int:
        return self.peer.local_port
