"""How a controller that is not active announces itself to the one that is (KIP-919).

Owns one node's registration: endpoints, features and the incarnation of this process. The active controller registers
itself.

Invariant: it is sent until the metadata shows it, one request at a time, and never again for the same incarnation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.controller_registration import ControllerRegistrationRequest

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import Endpoint, VersionRange
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage

_log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
TIMEOUT_MS: Final = 30_000


class Channel(Protocol):
    """The way to the active controller: `cluster.controller_channel.ControllerChannel`."""

    async def send(self, request: Any, *, timeout_ms: float) -> Any: ...


def controller_registration(
    node_id: int, incarnation_id: bytes, listeners: Iterable[Endpoint], features: Mapping[str, VersionRange]
) -> ControllerRegistrationRequest:
    """What a controller registers with."""
    return ControllerRegistrationRequest(
        controller_id=node_id,
        incarnation_id=incarnation_id,
        zk_migration_ready=False,
        listeners=[
            ControllerRegistrationRequest.Listener(
                name=endpoint.name,
                host=endpoint.host,
                port=endpoint.port,
                security_protocol=endpoint.security_protocol,
            )
            for endpoint in listeners
        ],
        features=[
            ControllerRegistrationRequest.Feature(
                name=name, min_supported_version=levels.low, max_supported_version=levels.high
            )
            for name, levels in features.items()
        ],
    )


class ControllerRegistrar:
    """Sends one controller's registration until the metadata has it. A publisher of the loader.

    Args:
        channel: the way to the active controller.
        registration: what to send.
        is_active: whether this node's own controller is the active one, which needs no sending.
    """

    def __init__(self, channel: Channel, registration: ControllerRegistrationRequest, *, is_active: Any) -> None:
        self._channel = channel
        self._registration = registration
        self._is_active = is_active
        self._registered = False
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Metadata moved: look whether we are in it."""
        del delta
        known = image.cluster.controllers.get(self._registration.controller_id)
        self._registered = known is not None and known.incarnation_id == self._registration.incarnation_id
        if not self._registered and self._sending is None and not self._is_active():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        from blumfeld.cluster.controller_channel import ControllerUnavailable

        try:
            while not self._registered and not self._is_active():
                try:
                    response = await self._channel.send(self._registration, timeout_ms=TIMEOUT_MS)
                    if response.error_code == ErrorCode.NONE:
                        return
                    _log.warning("controller registration refused: %s", ErrorCode(response.error_code).name)
                except ControllerUnavailable as error:
                    _log.info("controller not registered yet: %s", error)
                await asyncio.sleep(RETRY_S)
        finally:
            self._sending = None
