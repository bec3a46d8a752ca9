"""The small text files of a log directory: offset checkpoints, identities, the clean-shutdown file.

Owns their names and texts. Pure: bytes to values and back; whoever calls reads and writes the files atomically.
Kafka accepts empty checkpoints, and so do we; anything malformed is an error that the caller decides about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from blumfeld.protocol.primitives import ZERO_UUID, uuid_from_text, uuid_to_text
from blumfeld.storage.epochs import MalformedCheckpoint

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_START_OFFSETS = "log-start-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
CLEANER_OFFSETS = "cleaner-offset-checkpoint"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
META_PROPERTIES = "meta.properties"
PARTITION_METADATA = "partition.metadata"
LOCK = ".lock"

TopicPartition = tuple[str, int]


def encode_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    """A root checkpoint: version 0, how many lines follow, `topic partition offset` lines."""
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(offsets.items())]
    return "\n".join(["0", str(len(lines)), *lines, ""]).encode("utf-8")


def decode_offsets(data: bytes) -> dict[TopicPartition, int]:
    """The offsets of a root checkpoint. Raises `MalformedCheckpoint`."""
    if not data.strip():
        return {}
    try:
        lines = data.decode("utf-8").split("\n")
        if int(lines[0]) != 0:
            raise MalformedCheckpoint(f"version {lines[0]} is not 0")
        count = int(lines[1])
        offsets: dict[TopicPartition, int] = {}
        for line in lines[2 : 2 + count]:
            topic, partition, offset = line.split()
            offsets[topic, int(partition)] = int(offset)
    except (IndexError, ValueError) as error:
        raise MalformedCheckpoint(f"not an offset checkpoint: {error}") from error
    if len(offsets) != count:
        raise MalformedCheckpoint(f"{len(offsets)} partitions where {count} are announced")
    return offsets


def encode_clean_shutdown(broker_epoch: int) -> bytes:
    """`.kafka_cleanshutdown` with the epoch the broker was registered with (KIP-966)."""
    return json.dumps({"version": 0, "brokerEpoch": broker_epoch}, separators=(",", ":")).encode("ascii")


def decode_clean_shutdown(data: bytes) -> int:
    """The broker epoch in it; −1 where there is none (older Kafkas leave the file empty)."""
    try:
        content = json.loads(data)
    except ValueError:
        return -1
    epoch = content.get("brokerEpoch", -1) if isinstance(content, dict) else -1
    return epoch if isinstance(epoch, int) else -1


def encode_properties(values: Mapping[str, str]) -> bytes:
    """A Java properties file of plain names and values."""
    lines = ["#", *(f"{name}={value}" for name, value in sorted(values.items())), ""]
    return "\n".join(lines).encode("latin-1")


def decode_properties(data: bytes) -> dict[str, str]:
    """The names and values of a properties file (comments skipped; no continuation lines)."""
    values: dict[str, str] = {}
    for line in data.decode("latin-1").splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in "#!":
            name, _, value = stripped.partition("=")
            values[name.strip()] = value.strip().replace("\\:", ":").replace("\\=", "=")
    return values


def encode_partition_metadata(topic_id: bytes) -> bytes:
    """`partition.metadata`: which topic a directory belongs to, whatever its name (KIP-516)."""
    return f"version: 0\ntopic_id: {uuid_to_text(topic_id)}".encode("ascii")


def decode_partition_metadata(data: bytes) -> bytes | None:
    """The topic id; None of an empty file. Raises `MalformedCheckpoint`."""
    if not data.strip():
        return None
    values = dict(line.split(":", 1) for line in data.decode("ascii", "replace").splitlines() if ":" in line)
    try:
        if int(values["version"]) != 0:
            raise MalformedCheckpoint(f"version {values['version'].strip()} is not 0")
        topic_id = uuid_from_text(values["topic_id"].strip())
    except (KeyError, ValueError) as error:
        raise MalformedCheckpoint(f"not a partition.metadata: {error}") from error
    if topic_id == ZERO_UUID:
        raise MalformedCheckpoint("the topic id is zero")
    return topic_id
