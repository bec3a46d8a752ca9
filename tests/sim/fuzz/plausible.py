"""Requests as a client might send them, of any API and version, made up from the declarations.

Owns the values that make sense somewhere: names of things that exist, nearly exist or can't; offsets and epochs around
the right ones; batches sound and unsound. A seeded `random.Random` chooses; equal seeds make equal requests.

Waiting is kept short (timeouts of milliseconds), and the broker under test is not told to remove itself.
"""

from __future__ import annotations

import random
from typing import Any

from blumfeld.protocol.fields import NO_VERSIONS, Field
from blumfeld.protocol.messages.consumer_protocol import ConsumerProtocolSubscription
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.schema import Request, Struct, StructMeta
from tests.sim.fuzz.batches import Batches

INT_EDGES = {
    "Int8": (-128, -1, 0, 1, 2, 3, 127),
    "Int16": (-(2**15), -1, 0, 1, 2, 2**15 - 1),
    "Int32": (-(2**31), -2, -1, 0, 1, 2, 3, 100, 2**31 - 1),
    "Int64": (-(2**63), -5, -4, -3, -2, -1, 0, 1, 2, 100, 1_700_000_000_000, 2**63 - 1),
    "UInt16": (0, 1, 2**16 - 1),
    "UInt32": (0, 1, 2**32 - 1),
}
WORDS = ("", "a", "é", "..", "__consumer_offsets", "__cluster_metadata", "x" * 249, "x" * 250, "a b", "\0", "{}", "*")
TOPICS = ("plain", "compact", "lz4", "stamped", "strict", "made", "other", "nothing")
GROUPS = ("g", "h", "kept", "nothing", "")
PROTOCOLS = ("consumer", "connect", "")
CONFIGS = (
    ("retention.ms", "1000"),
    ("retention.ms", "-1"),
    ("retention.ms", "soon"),
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "delete,compact"),
    ("cleanup.policy", "none"),
    ("compression.type", "zstd"),
    ("compression.type", "brotli"),
    ("max.message.bytes", "100"),
    ("segment.bytes", "1048576"),
    ("segment.bytes", "1"),
    ("min.insync.replicas", "1"),
    ("message.timestamp.type", "LogAppendTime"),
    ("log.retention.ms", "1000"),
    ("no.such.config", "1"),
    ("", ""),
)
FEATURES = ("metadata.version", "kraft.version", "group.version", "transaction.version", "nothing", "")


class Plausible:
    """Makes requests up; `topic_ids` are known ids, `members` are learned from answers."""

    def __init__(self, chance: random.Random, topic_ids: list[bytes]) -> None:
        self._chance = chance
        self._topic_ids = topic_ids
        self._batches = Batches(chance)
        self.members: list[str] = []

    def request(self, kind: type[Request], version: int) -> Request:
        """A request of that version."""
        made = self._struct(kind, kind, version)
        assert isinstance(made, Request)
        return made

    def _struct(self, message: type[Request], struct: StructMeta, version: int) -> Struct:
        values = {one.name: self._content(message, one, version) for one in struct.fields if version in one.versions}
        made: Struct = struct(**values)
        flexible = message.FLEXIBLE is not None and version >= message.FLEXIBLE
        if flexible and self._chance.random() < 0.02:
            made.unknown_tagged_fields = {self._chance.randrange(50, 20_000): self._chance.randbytes(5)}
        return made

    def _content(self, message: type[Request], one: Field, version: int) -> Any:
        chance = self._chance
        if one.nullable != NO_VERSIONS and version in one.nullable and chance.random() < 0.2:
            return None
        if not one.is_array:
            return self._item(message, one, version)
        count = chance.choice((0, 1, 1, 1, 2, 2, 3)) if chance.random() < 0.99 else 200
        items = [self._item(message, one, version) for _ in range(count)]
        if items and chance.random() < 0.1:
            items.append(items[0])
        return items

    def _item(self, message: type[Request], one: Field, version: int) -> Any:
        if isinstance(one.type, StructMeta):
            return self._struct(message, one.type, version)
        special = getattr(self, f"_of_{one.name}", None)
        if special is not None and self._chance.random() < 0.9:
            return special(message)
        return self._primitive(one.type)

    def _primitive(self, kind: str) -> Any:
        chance = self._chance
        match kind:
            case "Bool":
                return chance.random() < 0.5
            case "String":
                return chance.choice(WORDS)
            case "Bytes":
                return chance.randbytes(chance.choice((0, 1, 30, 300)))
            case "Uuid":
                return chance.choice((ZERO_UUID, chance.randbytes(16), bytes(15) + b"\1"))
            case "Records":
                return self._batches.records()
            case "Float64":
                return chance.random()
            case _:
                return chance.choice(INT_EDGES[kind])

    # What a field of that name would hold, in any request.

    def _of_name(self, message: type[Request]) -> str:
        name = message.__name__
        if name in ("AlterConfigsRequest", "IncrementalAlterConfigsRequest"):
            return self._chance.choice(CONFIGS)[0]
        return "range" if name == "JoinGroupRequest" else self._of_topic(message)

    def _of_topic(self, message: type[Request]) -> str:
        if message.__name__ == "CreateTopicsRequest" and self._chance.random() < 0.3:
            return f"made-{self._chance.randrange(20)}"
        return self._chance.choice(TOPICS)

    _of_topic_name = _of_topic_names = _of_topic

    def _of_resource_name(self, message: type[Request]) -> str:
        return self._chance.choice((*TOPICS, "", "1", "2", "g", "one"))

    def _of_value(self, message: type[Request]) -> str:
        return self._chance.choice(CONFIGS)[1]

    def _of_configuration_keys(self, message: type[Request]) -> str:
        return self._chance.choice(CONFIGS)[0]

    def _of_resource_type(self, message: type[Request]) -> int:
        return self._chance.choice((2, 2, 4, 8, 16, 32, 0, 99))

    def _of_topic_id(self, message: type[Request]) -> bytes:
        return self._chance.choice((*self._topic_ids, ZERO_UUID, self._chance.randbytes(16)))

    def _of_group_id(self, message: type[Request]) -> str:
        return self._chance.choice(GROUPS)

    _of_groups = _of_groups_names = _of_key = _of_coordinator_keys = _of_group_id

    def _of_member_id(self, message: type[Request]) -> str:
        return self._chance.choice((*self.members[-5:], "", "nobody"))

    def _of_group_instance_id(self, message: type[Request]) -> str:
        return self._chance.choice(("", "one", "two"))

    def _of_protocol_type(self, message: type[Request]) -> str:
        return self._chance.choice(PROTOCOLS)

    def _of_protocol_name(self, message: type[Request]) -> str:
        return self._chance.choice(("range", "", "none"))

    def _of_metadata(self, message: type[Request]) -> bytes:
        return b"\0\1" + ConsumerProtocolSubscription(topics=list(TOPICS[: self._chance.randrange(4)])).encode(1)

    def _of_timeout_ms(self, message: type[Request]) -> int:
        return self._chance.choice((-1, 0, 1, 5, 20))

    _of_max_wait_ms = _of_rebalance_timeout_ms = _of_timeout_ms

    def _of_session_timeout_ms(self, message: type[Request]) -> int:
        return self._chance.choice((0, 100, 100, 200, 6000))

    def _of_partition_index(self, message: type[Request]) -> int:
        return self._chance.choice((0, 0, 0, 1, 2, 3, -1, 2**31 - 1))

    _of_partition = _of_index = _of_partitions = _of_partition_indexes = _of_partition_index

    def _of_num_partitions(self, message: type[Request]) -> int:
        return self._chance.choice((1, 1, 2, 3, -1, 0, -2, 10))

    _of_count = _of_num_partitions

    def _of_replication_factor(self, message: type[Request]) -> int:
        return self._chance.choice((1, 1, -1, 0, 2, -2))

    def _of_broker_ids(self, message: type[Request]) -> int:
        return self._chance.choice((1, 1, 1, 2, -1))

    _of_replicas = _of_broker_ids

    def _of_broker_id(self, message: type[Request]) -> int:
        return self._chance.choice((-1, 77, 2**31 - 1))

    def _of_replica_id(self, message: type[Request]) -> int:
        return self._chance.choice((-1, -1, -1, -2, 1, 7))

    def _of_acks(self, message: type[Request]) -> int:
        return self._chance.choice((-1, -1, 1, 1, 0, 2))

    def _of_transactional_id(self, message: type[Request]) -> str | None:
        return self._chance.choice((None, None, None, "t", ""))

    def _of_feature(self, message: type[Request]) -> str:
        return self._chance.choice(FEATURES)

    def _of_max_version_level(self, message: type[Request]) -> int:
        return self._chance.choice((-1, 99, 1000))

    def _of_fetch_offset(self, message: type[Request]) -> int:
        return self._chance.choice((0, 0, 1, 2, -1, 10**9))

    def _of_session_id(self, message: type[Request]) -> int:
        return self._chance.choice((0, 0, 0, 1, -1, self._chance.randrange(2**31)))

    def _of_session_epoch(self, message: type[Request]) -> int:
        return self._chance.choice((-1, 0, 0, 1, 2))

    def _of_max_bytes(self, message: type[Request]) -> int:
        return self._chance.choice((0, 1, 1 << 20, 1 << 20, 2**31 - 1, -1))

    _of_partition_max_bytes = _of_max_bytes

    def _of_min_bytes(self, message: type[Request]) -> int:
        return self._chance.choice((0, 1, 1, 100, 2**31 - 1))
