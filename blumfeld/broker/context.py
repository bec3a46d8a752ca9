"""What a handler is given: the broker it serves and the request's context.

Owns no state of its own. `Broker` is the composition root of one serving broker, made in `launch/`; handlers read its
parts and never construct them. `Context` lives as long as one request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
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
"""A handler's answer: the response itself, or an awaitable of it where it has to wait."""


@dataclass(slots=True)
class Broker:
    """The parts of one serving broker. `image` is replaced whenever committed metadata has been applied."""

    env: Env
    config: Config
    node_id: int
    cluster_id: str
    image: MetadataImage
    replicas: ReplicaManager
    groups: GroupCoordinator
    controller: ControllerChannel
    purgatory: Purgatory


@dataclass(slots=True)
class Context:
    """One request's surroundings: header, connection and the address that the client dialled."""

    header: RequestHeader
    connection_id: int
    listener: str
    client_host: str
    local_host: str
    local_port: int

    @property
    def api_version(self) -> int:
        return self.header.request_api_version

    @property
    def client_id(self) -> str:
        return self.header.client_id or ""
