"""Records of `__cluster_metadata`: all that a cluster knows about itself (KIP-631).

Owns their declarations, by subject, and their frame: a varint each for the frame's version (1), the record's
type and its version, then the body. Knows nothing of what they do to the metadata: `cluster/image` does.

Invariant: a type we do not know is a ProtocolError: who skips it has other metadata than the rest.
"""

from __future__ import annotations

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import (
    Array,
    Bool,
    Buffer,
    Bytes,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    String,
    UInt16,
    Uuid,
    decode_unsigned_varint,
    encode_unsigned_varint,
)
from blumfeld.protocol.schema import Record, Struct, field


class RegisterBrokerRecord(Record, key=0, versions="0-4", flexible="0+"):
    """A broker (re)starts under a new epoch; it is fenced until it has caught up (KIP-631).

    Versions: 1 controlled shutdown (KIP-841); 2 migration from ZooKeeper (KIP-866); 3 directory ids
    (KIP-858); 4 directories that take no new replicas (KIP-1066).
    """

    broker_id: Int32
    is_migrating_zk_broker: Bool = field(versions="2+", default=False)
    incarnation_id: Uuid
    broker_epoch: Int64
    end_points: Array[Endpoint]
    features: Array[Feature]
    rack: String | None
    fenced: Bool = True
    in_controlled_shutdown: Bool = field(versions="1+", default=False)
    log_dirs: Array[Uuid] = field(versions="3+", tag=0, default=[])
    cordoned_log_dirs: Array[Uuid] | None = field(versions="4+", tag=1, default=None)

    class Endpoint(Struct):
        name: String
        host: String
        port: UInt16
        security_protocol: Int16

    class Feature(Struct):
        name: String
        min_supported_version: Int16
        max_supported_version: Int16


class UnregisterBrokerRecord(Record, key=1, versions="0", flexible="0+"):
    """A broker is forgotten (KIP-631)."""

    broker_id: Int32
    broker_epoch: Int64


class BrokerRegistrationChangeRecord(Record, key=17, versions="0-3", flexible="0+"):
    """A registered broker changes. -1, 0 and 1: back to false, unchanged, true.

    Directories that are empty, and cordoned ones that are null, are unchanged.

    Versions: 1 controlled shutdown (KIP-841); 2 directory ids (KIP-858); 3 directories that take no new
    replicas (KIP-1066).
    """

    broker_id: Int32
    broker_epoch: Int64
    fenced: Int8 = field(tag=0, default=0)
    in_controlled_shutdown: Int8 = field(versions="1+", tag=1, default=0)
    log_dirs: Array[Uuid] = field(versions="2+", tag=2, default=[])
    cordoned_log_dirs: Array[Uuid] | None = field(versions="3+", tag=3, default=None)


class FenceBrokerRecord(Record, key=7, versions="0", flexible="0+"):
    """A broker is fenced; written before BrokerRegistrationChangeRecord took it over."""

    id: Int32
    epoch: Int64


class UnfenceBrokerRecord(Record, key=8, versions="0", flexible="0+"):
    """A broker is unfenced; written before BrokerRegistrationChangeRecord took it over."""

    id: Int32
    epoch: Int64


class RegisterControllerRecord(Record, key=27, versions="0", flexible="0+"):
    """A controller (re)starts (KIP-919)."""

    controller_id: Int32
    incarnation_id: Uuid
    zk_migration_ready: Bool
    end_points: Array[Endpoint]
    features: Array[Feature]

    class Endpoint(Struct):
        name: String
        host: String
        port: UInt16
        security_protocol: Int16

    class Feature(Struct):
        name: String
        min_supported_version: Int16
        max_supported_version: Int16


class UnregisterControllerRecord(Record, key=29, versions="0", flexible="0+"):
    """A controller is forgotten."""

    controller_id: Int32


class TopicRecord(Record, key=2, versions="0", flexible="0+"):
    """A topic exists; its partitions follow (KIP-631)."""

    name: String
    topic_id: Uuid


class PartitionRecord(Record, key=3, versions="0-2", flexible="0+"):
    """A partition exists, and everything about it (KIP-631).

    Versions: 1 directory of each replica (KIP-858); 2 eligible leader replicas (KIP-966).
    """

    partition_id: Int32 = -1
    topic_id: Uuid
    replicas: Array[Int32]
    isr: Array[Int32]
    removing_replicas: Array[Int32]
    adding_replicas: Array[Int32]
    leader: Int32 = -1
    leader_recovery_state: Int8 = field(tag=0, default=0)  # 1: recovering after an unclean election
    leader_epoch: Int32 = -1
    partition_epoch: Int32 = -1
    directories: Array[Uuid] = field(versions="1+", default=[])
    eligible_leader_replicas: Array[Int32] | None = field(versions="2+", tag=1, default=None)
    last_known_elr: Array[Int32] | None = field(versions="2+", tag=2, default=None)


class PartitionChangeRecord(Record, key=5, versions="0-2", flexible="0+"):
    """A partition changes; what is not there is as it was (KIP-631).

    A leader set raises the leader epoch; every change raises the partition epoch.

    Versions: 1 directory of each replica (KIP-858); 2 eligible leader replicas (KIP-966).
    """

    partition_id: Int32 = -1
    topic_id: Uuid
    isr: Array[Int32] | None = field(tag=0, default=None)
    leader: Int32 = field(tag=1, default=-2)  # -1 nobody, -2 as it was
    replicas: Array[Int32] | None = field(tag=2, default=None)
    removing_replicas: Array[Int32] | None = field(tag=3, default=None)
    adding_replicas: Array[Int32] | None = field(tag=4, default=None)
    leader_recovery_state: Int8 = field(tag=5, default=-1)  # -1 as it was
    directories: Array[Uuid] | None = field(versions="1+", tag=8, default=None)
    eligible_leader_replicas: Array[Int32] | None = field(versions="2+", tag=6, default=None)
    last_known_elr: Array[Int32] | None = field(versions="2+", tag=7, default=None)


class ClearElrRecord(Record, key=28, versions="0", flexible="0+"):
    """Eligible leader replicas are forgotten, of one topic or (no name) of all (KIP-966)."""

    topic_name: String


class RemoveTopicRecord(Record, key=9, versions="0", flexible="0+"):
    """A topic goes, with all its partitions (KIP-631)."""

    topic_id: Uuid


class ConfigRecord(Record, key=4, versions="0", flexible="0+"):
    """A resource's property is set, or (null) removed.

    Types: 2 topic, 4 broker, 16 client metrics, 32 group.
    """

    resource_type: Int8
    resource_name: String
    name: String
    value: String | None


class FeatureLevelRecord(Record, key=12, versions="0", flexible="0+"):
    """A feature is finalized at a level, 0 removes it (KIP-584).

    First in every metadata log, so version 0 for good.
    """

    name: String
    feature_level: Int16


class ProducerIdsRecord(Record, key=15, versions="0", flexible="0+"):
    """Producer ids up to, not including, the next one are given away (KIP-730)."""

    broker_id: Int32
    broker_epoch: Int64 = -1
    next_producer_id: Int64


class NoOpRecord(Record, key=20, versions="0", flexible="0+"):
    """Nothing: it moves the log's end, so that time passes for observers (KIP-835)."""


class ZkMigrationStateRecord(Record, key=21, versions="0", flexible="0+"):
    """How far a migration from ZooKeeper is: 0 none, 1 migration, 2 before, 3 after (KIP-866).

    Kafka 4 only reads it.
    """

    zk_migration_state: Int8


class BeginTransactionRecord(Record, key=23, versions="0", flexible="0+"):
    """Records up to the end belong together and stay unseen until then (KIP-868)."""

    name: String | None = field(tag=0, default=None)


class EndTransactionRecord(Record, key=24, versions="0", flexible="0+"):
    """The metadata transaction takes effect (KIP-868)."""


class AbortTransactionRecord(Record, key=25, versions="0", flexible="0+"):
    """The metadata transaction is void (KIP-868)."""

    reason: String | None = field(tag=0, default=None)


class ClientQuotaRecord(Record, key=14, versions="0", flexible="0+"):
    """A quota of an entity is set or removed (KIP-546). A null entity name is the default of its type."""

    entity: Array[Entity]
    key: String
    value: Float64
    remove: Bool

    class Entity(Struct):
        entity_type: String
        entity_name: String | None


class UserScramCredentialRecord(Record, key=11, versions="0", flexible="0+"):
    """A user's SCRAM credential (KIP-554)."""

    name: String
    mechanism: Int8
    salt: Bytes
    stored_key: Bytes
    server_key: Bytes
    iterations: Int32


class RemoveUserScramCredentialRecord(Record, key=22, versions="0", flexible="0+"):
    """A user's SCRAM credential goes (KIP-554)."""

    name: String
    mechanism: Int8


class AccessControlEntryRecord(Record, key=18, versions="0", flexible="0+"):
    """An ACL (KIP-801)."""

    id: Uuid
    resource_type: Int8
    resource_name: String
    pattern_type: Int8
    principal: String
    host: String
    operation: Int8
    permission_type: Int8


class RemoveAccessControlEntryRecord(Record, key=19, versions="0", flexible="0+"):
    """An ACL goes (KIP-801)."""

    id: Uuid


class DelegationTokenRecord(Record, key=10, versions="0", flexible="0+"):
    """A delegation token (KIP-48)."""

    owner: String
    requester: String
    renewers: Array[String]
    issue_timestamp: Int64
    max_timestamp: Int64
    expiration_timestamp: Int64
    token_id: String


class RemoveDelegationTokenRecord(Record, key=26, versions="0", flexible="0+"):
    """A delegation token goes (KIP-48)."""

    token_id: String


FRAME_VERSION = 1

METADATA_RECORDS: dict[int, type[Record]] = {
    record.KEY: record
    for record in list(globals().values())
    if isinstance(record, type) and issubclass(record, Record) and record.KEY is not None
}
"""Every record type by its number."""


def encode_metadata_record(record: Record, version: int) -> bytes:
    """A record's value in the log: frame and body."""
    assert record.KEY is not None
    frame = (FRAME_VERSION, record.KEY, version)
    return b"".join((*map(encode_unsigned_varint, frame), record.encode(version)))


def decode_metadata_record(value: Buffer) -> Record:
    """The record in a value of the log. ProtocolError for frames and types unknown, or a body that is cut."""
    return decode_versioned_metadata_record(value)[0]


def decode_versioned_metadata_record(value: Buffer) -> tuple[Record, int]:
    """The record in a value of the log and the version it was written in."""
    frame_version, position = decode_unsigned_varint(value, 0)
    if frame_version != FRAME_VERSION:
        raise ProtocolError(f"a metadata record has frame version {frame_version}, {FRAME_VERSION} is known")
    key, position = decode_unsigned_varint(value, position)
    version, position = decode_unsigned_varint(value, position)
    declaration = METADATA_RECORDS.get(key)
    if declaration is None:
        raise ProtocolError(f"a metadata record of type {key}, version {version} is not known")
    return declaration.decode(memoryview(value)[position:], version), version
