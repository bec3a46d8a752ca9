"""Which names a topic may have.

Owns which names are internal and which collide; what a name may consist of is `config/topics.py`'s. Names that differ
only in '.' and '_' collide: metrics replace one by the other.
"""

from __future__ import annotations

from typing import Final

from blumfeld.cluster.image.topics import TopicsImage
from blumfeld.config.topics import topic_name_error

CLUSTER_METADATA_TOPIC: Final = "__cluster_metadata"
INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})


def invalid_topic_name(name: str) -> str | None:
    """Why `name` may not be a topic's name, as Kafka tells clients; None if it may."""
    reason = topic_name_error(name)
    return None if reason is None else f"Topic name is invalid: {reason}"


def is_internal_topic(name: str) -> bool:
    return name in INTERNAL_TOPICS


def has_collision_characters(name: str) -> bool:
    return "." in name or "_" in name


def unified(name: str) -> str:
    """The form in which colliding names are equal."""
    return name.replace(".", "_")


class CollisionIndex:
    """Existing names by their unified form, made only when a new name could collide."""

    __slots__ = ("_by_unified", "_topics")

    def __init__(self, topics: TopicsImage) -> None:
        self._topics = topics
        self._by_unified: dict[str, str] | None = None

    def colliding(self, name: str) -> str | None:
        """An existing topic whose name collides with `name`; None if there is none."""
        if not has_collision_characters(name):
            return None
        if self._by_unified is None:
            self._by_unified = {
                unified(existing): existing for existing in self._topics.by_name if has_collision_characters(existing)
            }
        return self._by_unified.get(unified(name))
