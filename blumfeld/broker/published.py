"""Metadata as this broker has published it, and those who wait for it to move.

Owns the one key in the purgatory under which they wait.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.waiting import EXPIRED

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker
    from blumfeld.cluster.image.image import MetadataImage

METADATA: Final = "metadata"


def publish(broker: Broker, image: MetadataImage) -> None:
    """Replicas and coordinators have applied `image`: serve by it, and wake who waited for it."""
    broker.image = image
    broker.purgatory.check(METADATA)


async def wait_for_metadata(broker: Broker, condition: Callable[[MetadataImage], bool], timeout_ms: float) -> bool:
    """Whether the published metadata meets `condition` within the time."""
    if condition(broker.image):
        return True
    if timeout_ms <= 0:
        return False

    def attempt(key: Hashable) -> bool | None:
        met = condition(broker.image)
        return met if met or key is EXPIRED else None

    return await broker.purgatory.wait([METADATA], timeout_ms, attempt)
