"""In which version a metadata record is written, by metadata.version.

Owns that table, as Apache Kafka's `MetadataVersion` has it: a record is written in the version that every node at this
metadata.version can read.
"""

from __future__ import annotations

from blumfeld.protocol.messages.metadata_log import (
    BrokerRegistrationChangeRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    encode_metadata_record,
)
from blumfeld.protocol.schema import Record

_VERSIONS: dict[type[Record], tuple[tuple[int, int], ...]] = {
    RegisterBrokerRecord: ((30, 4), (17, 3), (8, 2), (7, 1)),
    PartitionRecord: ((23, 2), (17, 1)),
    PartitionChangeRecord: ((23, 2), (17, 1)),
}
"""Per record (lowest metadata.version, record version), highest first; records not named have version 0 only."""


def record_version(record: Record, metadata_version: int) -> int:
    """The version to write `record` in."""
    if isinstance(record, BrokerRegistrationChangeRecord):
        return 2 if record.log_dirs else 1 if record.in_controlled_shutdown else 0  # the lowest that can say it
    for lowest, version in _VERSIONS.get(type(record), ()):
        if metadata_version >= lowest:
            return version
    return 0


def encode_record(record: Record, metadata_version: int) -> bytes:
    """The record's value in the metadata log, at this metadata.version."""
    return encode_metadata_record(record, record_version(record, metadata_version))
