"""The records of `__consumer_offsets`, byte for byte as Apache Kafka 4.3.1 writes them.

The bytes below were printed by Kafka's own classes (`java/GroupRecords.java`). Where Java is present they are printed
again.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from blumfeld.coordinator.decision import LogRecord
from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.classic import ClassicGroup
from blumfeld.coordinator.group.member import Client, Member, MemberProtocol
from blumfeld.coordinator.group.records import CommittedOffset
from tests.interop.java import class_path, require_java

PROGRAM = Path(__file__).parent / "java" / "GroupRecords.java"
NOW = 1_700_000_000_000
TOPIC_ID = bytes(range(1, 17))

_OFFSET_KEY = "000100016700066f726465727300000003"
_GROUP_KEY = "0002000167"
_STABLE = "00030008636f6e73756d657200000004000572616e676500056164612d310000018bcfe568000000000100056164612d31"
_MEMBER = "0006636c69656e74000a2f3132372e302e302e310000ea600000271000000003010203000000020908"

KAFKAS = {
    "offset": (
        _OFFSET_KEY,
        "0004000000000000002a000000070768c3a96c6c6f0000018bcfe56800010010" + TOPIC_ID.hex(),
    ),
    "offset without id": (_OFFSET_KEY, "0004000000000000002affffffff010000018bcfe5680000"),
    "expiring offset": (_OFFSET_KEY, "0001000000000000002a00016d0000018bcfe568000000018bcfe56be8"),
    "offset tombstone": (_OFFSET_KEY, "-"),
    "new group": (_GROUP_KEY, "0003000000000000ffffffff0000018bcfe5680000000000"),
    "emptied group": (_GROUP_KEY, "00030008636f6e73756d657200000005ffffffff0000018bcfe5680000000000"),
    "stable group": (_GROUP_KEY, _STABLE + "ffff" + _MEMBER),
    "static group": (_GROUP_KEY, _STABLE + "0003616461" + _MEMBER),
    "group tombstone": (_GROUP_KEY, "-"),
}


def group(generation: int, protocol: str | None = None) -> ClassicGroup:
    made = ClassicGroup("g")
    made.generation = generation
    made.protocol_type = "consumer"
    made.protocol_name = protocol
    return made


def stable(instance_id: str | None) -> LogRecord:
    member = Member(
        "ada-1",
        instance_id,
        Client("client", "/127.0.0.1"),
        rebalance_timeout_ms=60_000,
        session_timeout_ms=10_000,
        protocols=(MemberProtocol("range", b"\1\2\3"),),
    )
    return records.stable_group(group(4, "range"), [(member, b"\x09\x08")], leader="ada-1", timestamp_ms=NOW)


OURS = {
    "offset": records.offset_commit("g", "orders", 3, CommittedOffset(42, 7, "héllo", NOW, topic_id=TOPIC_ID)),
    "offset without id": records.offset_commit("g", "orders", 3, CommittedOffset(42, -1, "", NOW)),
    "expiring offset": records.offset_commit("g", "orders", 3, CommittedOffset(42, 7, "m", NOW, NOW + 1000, TOPIC_ID)),
    "offset tombstone": records.offset_tombstone("g", "orders", 3),
    "new group": records.new_group("g", NOW),
    "emptied group": records.emptied_group(group(4), NOW),
    "stable group": stable(None),
    "static group": stable("ada"),
    "group tombstone": records.group_tombstone("g"),
}


@pytest.mark.parametrize("name", KAFKAS)
def test_our_records_are_kafkas(name: str) -> None:
    record = OURS[name]
    value = "-" if record.value_bytes is None else record.value_bytes.hex()
    assert (record.key_bytes.hex(), value) == KAFKAS[name]


@pytest.mark.parametrize("name", KAFKAS)
def test_kafkas_records_are_read(name: str) -> None:
    key, value = KAFKAS[name]
    assert records.decode(bytes.fromhex(key), None if value == "-" else bytes.fromhex(value)) == OURS[name]


@pytest.mark.java
def test_kafka_still_writes_these_bytes() -> None:
    jars = require_java()
    done = subprocess.run(
        ["java", "-cp", class_path(jars), str(PROGRAM)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert {name: (key, value) for name, key, value in printed} == KAFKAS
