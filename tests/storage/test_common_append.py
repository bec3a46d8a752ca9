"""The common append and the full one decide alike, whatever the batch."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.env.clock import ManualClock
from blumfeld.env.memory_disk import MemoryDisk
from blumfeld.protocol.batch import HEADER
from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec
from blumfeld.storage.log import Log
from tests.storage.builders import NOW, LogBench, batch

FIELDS = {"base_offset": (0, ">q"), "length": (8, ">i"), "magic": (16, ">b"), "attributes": (21, ">h")} | {
    "last_offset_delta": (23, ">i"),
    "base_timestamp": (27, ">q"),
    "max_timestamp": (35, ">q"),
    "base_sequence": (53, ">i"),
    "record_count": (57, ">i"),
}
ODD = st.sampled_from([-(2**15), -1, 0, 1, 2, 3, 4, 5, 8, 16, 32, 64, 127])


@st.composite
def batches(draw: st.DrawFn) -> bytearray:
    """Mostly good batches, some with one field changed, some cut."""
    producer = draw(st.sampled_from([-1, -1, 1, 2]))
    identity: dict[str, Any] = {}
    if producer >= 0:
        identity = {
            "producer_id": producer,
            "producer_epoch": draw(st.sampled_from([0, 0, 0, 1])),
            "base_sequence": draw(st.integers(0, 6)),
            "transactional": draw(st.sampled_from([False, False, True])),
        }
    data = batch(
        count=draw(st.integers(1, 3)),
        timestamp=NOW + draw(st.sampled_from([0, 0, 10_000_000, -5])),
        codec=draw(st.sampled_from([Codec.NONE, Codec.NONE, Codec.GZIP])),
        **identity,
    )
    if draw(st.integers(0, 3)) == 0:
        at, layout = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
        value = draw(ODD)
        if layout == ">b":
            value = max(value, -128)
        struct.pack_into(layout, data, at, value)
        if draw(st.booleans()):
            struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    if draw(st.integers(0, 9)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 9)) == 0:
        data += batch()
    return data


def make() -> Log:
    disk = MemoryDisk()
    disk.make_directories("/x")
    return LogBench(disk, ManualClock(time_ms=NOW), "/x").configure(segment_bytes=1000, max_message_bytes=300).log


def state(log: Log) -> Any:
    return (
        log.log_end_offset,
        log.latest_epoch,
        {key: producer.as_tuple() for key, producer in log.producers.by_id.items()},
        log.producers.ongoing,
        [bytes(segment.data.use().read_at(0, segment.size)) for segment in log.segments],
        [segment.max_timestamp for segment in log.segments],
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(batches(), st.booleans()), max_size=12))
def test_both_ways_give_the_same_log(sent: list[tuple[bytearray, bool]]) -> None:
    common, full = make(), make()
    full._plain = False  # every append of this one is checked in full
    for number, (data, writable) in enumerate(sent):
        mine, theirs = (bytearray(data), bytearray(data)) if writable else (bytes(data), bytes(data))
        results = [
            log.append_as_leader(records, number // 4, now_ms=NOW) for log, records in ((common, mine), (full, theirs))
        ]
        assert repr(results[0]) == repr(results[1])
        assert mine == theirs
    assert state(common) == state(full)


def test_the_fields_are_where_the_header_has_them() -> None:
    header = list(HEADER.unpack_from(batch(b"a", b"b", timestamp=7)))
    for name, (at, layout) in FIELDS.items():
        data = batch(b"a", b"b", timestamp=7)
        value = struct.unpack_from(layout, data, at)[0]
        assert value in header, name
