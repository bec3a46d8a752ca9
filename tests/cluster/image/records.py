"""Records for stories about images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blumfeld.protocol.messages.metadata_log import PartitionRecord


def partition_record(topic_id: bytes, partition_id: int, replicas: Sequence[int], **changes: Any) -> PartitionRecord:
    """A new partition, all replicas in sync, the first one leading."""
    fields: dict[str, Any] = {
        "partition_id": partition_id,
        "topic_id": topic_id,
        "replicas": list(replicas),
        "isr": list(replicas),
        "removing_replicas": [],
        "adding_replicas": [],
        "leader": replicas[0],
        "leader_epoch": 0,
        "partition_epoch": 0,
        "directories": [bytes(16)] * len(replicas),
        **changes,
    }
    return PartitionRecord(**fields)
