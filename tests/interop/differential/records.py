"""Records produced, fetched, looked up and deleted: what is taken, and every way of being refused."""

from __future__ import annotations

import struct
from typing import Any

from blumfeld.protocol.checksum import crc32c
from blumfeld.protocol.compression import Codec
from blumfeld.protocol.messages.delete_records import DeleteRecordsRequest
from blumfeld.protocol.messages.describe_producers import DescribeProducersRequest
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.messages.init_producer_id import InitProducerIdRequest
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest
from blumfeld.protocol.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.records import Record, build_batch
from tests.interop.differential.script import ANSWER_S, Script
from tests.interop.differential.topics import UNKNOWN_ID, make

T0 = 1_700_000_000_000
LENGTH_AT, EPOCH_AT, MAGIC_AT, CRC_AT, ATTRIBUTES_AT = 8, 12, 16, 17, 21
LAST_DELTA_AT, BASE_TIME_AT, MAX_TIME_AT, PRODUCER_AT, COUNT_AT = 23, 27, 35, 43, 57
HEADER_BYTES = 61


def batch(count: int = 1, *, key: bytes | None = b"k", timestamp: int = T0, size: int = 1, **more: Any) -> bytes:
    records = [Record(i, timestamp + i, key, bytes(size)) for i in range(count)]
    return build_batch(records, **more)


def patched(data: bytes, at: int, form: str, value: int, *, seal: bool = True) -> bytes:
    """A batch with another number in its header; with the right CRC, unless told otherwise."""
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    if seal:
        struct.pack_into(">I", changed, CRC_AT, crc32c(bytes(changed[ATTRIBUTES_AT:])))
    return bytes(changed)


def message_set(magic: int) -> bytes:
    """One message of the formats before version 2."""
    times = struct.pack(">q", T0) if magic else b""
    body = struct.pack(">bb", magic, 0) + times + struct.pack(">ii", -1, 1) + b"v"
    return struct.pack(">qiI", 0, len(body) + 4, 0) + body


BATCHES: dict[str, bytes | None] = {
    "no records": None,
    "empty records": b"",
    "wrong CRC": patched(batch(), CRC_AT, ">I", 1, seal=False),
    "magic 0": message_set(0),
    "magic 1": message_set(1),
    "magic 3": patched(batch(), MAGIC_AT, ">b", 3, seal=False),
    "cut": batch()[:-1],
    "cut in the header": batch()[:30],
    "length too small": patched(batch(), LENGTH_AT, ">i", 10, seal=False),
    "length negative": patched(batch(), LENGTH_AT, ">i", -1, seal=False),
    "length too large": patched(batch(), LENGTH_AT, ">i", 1000, seal=False),
    "two batches": batch() + batch(),
    "a batch and garbage": batch() + b"garbage",
    "count too large": patched(batch(2), COUNT_AT, ">i", 3),
    "count and offsets too large": patched(patched(batch(2), COUNT_AT, ">i", 3), LAST_DELTA_AT, ">i", 2),
    "count 0": patched(batch(), COUNT_AT, ">i", 0),
    "count negative": patched(batch(), COUNT_AT, ">i", -1),
    "last offset too large": patched(batch(2), LAST_DELTA_AT, ">i", 5),
    "last offset negative": patched(batch(), LAST_DELTA_AT, ">i", -1),
    "base offset 5": patched(batch(), 0, ">q", 5, seal=False),
    "leader epoch 77": patched(batch(), EPOCH_AT, ">i", 77, seal=False),
    "unknown codec": patched(batch(), ATTRIBUTES_AT, ">h", 5),
    "codec of another": patched(batch(), ATTRIBUTES_AT, ">h", 4),
    "control": patched(batch(), ATTRIBUTES_AT, ">h", 0x20),
    "append time": patched(batch(), ATTRIBUTES_AT, ">h", 0x08),
    "delete horizon": patched(batch(), ATTRIBUTES_AT, ">h", 0x40),
    "unknown attribute": patched(batch(), ATTRIBUTES_AT, ">h", 0x100),
    "transactional without a producer": patched(batch(), ATTRIBUTES_AT, ">h", 0x10),
    "too large": batch(size=1_100_000),
    "of the far future": batch(timestamp=32_503_680_000_000),
    "without a time": batch(timestamp=-1),
    "of 1970": batch(timestamp=0),
    "without a key": batch(key=None),
    "a producer without an epoch": batch(producer_id=99_000, producer_epoch=-1, base_sequence=0),
    "a producer without a sequence": batch(producer_id=99_001, producer_epoch=0, base_sequence=-1),
    "a producer that begins at 5": batch(producer_id=99_002, producer_epoch=0, base_sequence=5),
    "a producer that begins at 0": batch(producer_id=99_003, producer_epoch=0, base_sequence=0),
    **{codec.name.lower(): batch(3, codec=codec) for codec in Codec},
}


UNOPENED = ("count and offsets too large", "codec of another")
"""What can be known to be wrong only by opening it: in a topic of their own, since offsets depend on who does."""


SILENT = ("no records",)
"""What Apache Kafka never answers, so that it is not worth a long wait."""
SILENT_S = 5.0


def asked(name: str, records: bytes | None, *, index: int = 0, topic_id: bytes = ZERO_UUID) -> Any:
    partition = ProduceRequest.Topic.Partition(index=index, records=records)
    return ProduceRequest.Topic(name=name, topic_id=topic_id, partition_data=[partition])


def produce(script: Script) -> None:
    (topic_id,) = make(script, "produced", partitions=2)
    make(script, "unopened")
    make(script, "compacted", configs={"cleanup.policy": "compact"})
    make(script, "stamped", configs={"message.timestamp.type": "LogAppendTime"})
    make(script, "gzipped", configs={"compression.type": "gzip"})
    make(script, "small", configs={"max.message.bytes": "200"})
    make(script, "strict", configs={"message.timestamp.before.max.ms": "1000"})
    make(script, "demanding", configs={"min.insync.replicas": "2"})

    def ask(step: str, *topics: Any, version: int = 9, acks: int = -1, transactional_id: str | None = None) -> None:
        request = ProduceRequest(transactional_id=transactional_id, acks=acks, timeout_ms=5000, topic_data=list(topics))
        script.ask(f"produce/{step}", request, version, SILENT_S if step in SILENT else ANSWER_S)

    for title, data in BATCHES.items():
        ask(title, asked("unopened" if title in UNOPENED else "produced", data))
    for name in ("compacted", "stamped", "gzipped", "small", "strict"):
        for title in ("without a key", "append time", "of the far future", "zstd", "wrong CRC"):
            ask(f"{name}: {title}", asked(name, BATCHES[title]))
        ask(f"{name}: good", asked(name, batch(2)))
        ask(f"{name}: 300 bytes", asked(name, batch(size=300)))
        ask(f"{name}: codec of another", asked(name, BATCHES["codec of another"]))
    for acks in (-2, -1, 0, 1, 2):
        if acks:
            ask(f"acks {acks}", asked("produced", batch()), acks=acks)
    ask("too few in sync", asked("demanding", batch()), acks=-1)
    ask("too few in sync, acks 1", asked("demanding", batch()), acks=1)
    ask("nothing")
    ask("unknown topic", asked("nothing", batch()))
    ask("bad topic name", asked("bad/name", batch()))
    ask("no topic name", asked("", batch()))
    ask("internal topic", asked("__consumer_offsets", batch()))
    ask("unknown partition", asked("produced", batch(), index=7))
    ask("negative partition", asked("produced", batch(), index=-1))
    ask("good and bad", asked("produced", batch()), asked("nothing", batch()))
    ask("a partition twice", asked("unopened", batch()), asked("unopened", batch()))
    ask("unknown id", asked("", batch(), topic_id=UNKNOWN_ID), version=13)
    ask("no id", asked("", batch()), version=13)
    ask("by id", asked("", batch(), topic_id=topic_id), version=13)
    ask("zstd before version 7", asked("produced", BATCHES["zstd"]), version=6)
    ask("transactional id without a transaction", asked("produced", batch()), transactional_id="t")
    for version in range(3, 14):
        ask(f"version {version}", asked("produced", batch(), topic_id=topic_id), version=version)
    for title in ("wrong CRC", "control"):
        for version in (3, 7, 8):
            ask(f"{title} in version {version}", asked("produced", BATCHES[title]), version=version)


def idempotence(script: Script) -> None:
    make(script, "sequenced")

    def ask(step: str, sequence: int, *, epoch: int = 0, count: int = 1, producer: int = 77_000) -> None:
        data = batch(count, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
        request = ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked("sequenced", data)])
        script.ask(f"idempotence/{step}", request, 9)

    ask("first", 0)
    ask("second", 1, count=3)
    ask("second again", 1, count=3)
    ask("first again", 0)
    ask("a part of the second", 2)
    ask("a gap", 10)
    for sequence in range(4, 10):
        ask(f"sequence {sequence}", sequence)
    ask("forgotten", 0)
    ask("a new epoch begins at 1", 1, epoch=1)
    ask("a new epoch", 0, epoch=1)
    ask("the old epoch", 10, epoch=0)
    ask("negative epoch", 1, epoch=-1)
    request = DescribeProducersRequest(
        topics=[
            DescribeProducersRequest.Topic(name="sequenced", partition_indexes=[0, 7]),
            DescribeProducersRequest.Topic(name="nothing", partition_indexes=[0]),
        ]
    )
    script.ask("idempotence/described", request, 0)
    plain = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    script.until(lambda: script.quietly(plain, 4).error_code == 0)
    for title, fields in {
        "plain": {},
        "bumped": {"producer_id": 77_000, "producer_epoch": 1},
        "id without an epoch": {"producer_id": 5},
        "epoch without an id": {"producer_epoch": 5},
    }.items():
        initial: Any = {"transactional_id": None, "transaction_timeout_ms": 1000, **fields}
        script.ask(f"idempotence/init producer id: {title}", InitProducerIdRequest(**initial), 4)
    for title, transactional_id, timeout in (("empty", "", 1000), ("no time", "t", 0), ("too much", "t", 2**31 - 1)):
        wrong = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=timeout)
        script.ask(f"idempotence/init producer id: {title}", wrong, 4)


def fetch(script: Script) -> None:
    (topic_id,) = make(script, "fetched", partitions=2)
    for _ in range(2):
        request = ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked("fetched", batch(2))])
        script.quietly(request, 9)
    script.quietly(DeleteRecordsRequest(topics=[deleting("fetched", 1)], timeout_ms=5000), 2)

    def partition(offset: int, *, index: int = 0, size: int = 1 << 20, epoch: int = -1, last: int = -1) -> Any:
        return FetchRequest.Topic.Partition(
            partition=index,
            fetch_offset=offset,
            partition_max_bytes=size,
            current_leader_epoch=epoch,
            last_fetched_epoch=last,
        )

    def ask(step: str, *partitions: Any, name: str = "fetched", version: int = 12, **more: Any) -> Any:
        fields: Any = {"max_wait_ms": 0, "min_bytes": 1, **more}
        topic = FetchRequest.Topic(topic=name, topic_id=fields.pop("by", topic_id), partitions=list(partitions))
        return script.ask(f"fetch/{step}", FetchRequest(topics=[topic] if partitions else [], **fields), version)

    ask("nothing")
    for offset in (0, 1, 2, 4, 5, 2**63 - 1, -1, -2):
        ask(f"offset {offset}", partition(offset))
    ask("unknown partition", partition(0, index=7))
    ask("negative partition", partition(0, index=-1))
    ask("unknown topic", partition(0), name="nothing")
    ask("bad topic name", partition(0), name="bad/name")
    ask("unknown id", partition(0), version=13, by=UNKNOWN_ID)
    ask("no id", partition(0), version=13, by=ZERO_UUID)
    ask("good and bad", partition(1), partition(0, index=1), partition(0, index=2))
    for epoch in (0, 1, -2):
        ask(f"leader epoch {epoch}", partition(1, epoch=epoch))
        ask(f"last fetched epoch {epoch}", partition(2, last=epoch))
    ask("a byte at most", partition(1, size=1), max_bytes=1)
    ask("no bytes", partition(1, size=0), max_bytes=0)
    ask("negative bytes", partition(1, size=-1), max_bytes=-1)
    ask("isolation 1", partition(1), isolation_level=1)
    ask("isolation 2", partition(1), isolation_level=2)
    ask("an unknown follower", partition(1), replica_id=9)
    ask("this broker as follower", partition(1), replica_id=1)
    ask("a debugger", partition(1), replica_id=-2)
    ask("a partition twice", partition(1), partition(2))
    for version in range(4, 19):
        ask(f"version {version}", partition(1), partition(0, index=7), version=version)


def fetch_sessions(script: Script) -> None:
    make(script, "sessions", partitions=3)

    def ask(step: str, session: int, epoch: int, *offsets: int, forgotten: list[int] | None = None) -> Any:
        partitions = [
            FetchRequest.Topic.Partition(partition=index, fetch_offset=offset, partition_max_bytes=1000)
            for index, offset in enumerate(offsets)
        ]
        gone = [FetchRequest.ForgottenTopic(topic="sessions", partitions=forgotten)] if forgotten else []
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            session_id=session,
            session_epoch=epoch,
            topics=[FetchRequest.Topic(topic="sessions", partitions=partitions)] if partitions else [],
            forgotten_topics_data=gone,
        )
        return script.ask(f"fetch sessions/{step}", request, 12)

    number = ask("begin", 0, 0, 0, 0).session_id
    ask("nothing new", number, 1)
    ask("a wrong epoch", number, 7)
    ask("the next epoch", number, 2)
    ask("one more partition", number, 3, 0, 0, 0)
    ask("an offset out of range", number, 4, 99)
    ask("forget it", number, 5, forgotten=[0])
    ask("forget what is not there", number, 6, forgotten=[0, 9])
    ask("end", number, -1, 0)
    ask("after the end", number, 7)
    ask("an unknown session", 123_456, 1)
    ask("a new one that was not asked for", 123_456, 0, 0)
    ask("no session at a later epoch", 0, 5, 0)
    ask("a new one without partitions", 0, 0)
    ask("none", 0, -1, 0)


def list_offsets(script: Script) -> None:
    make(script, "listed", "listed-empty")
    for i, timestamp in enumerate((T0, T0 + 500, T0 + 100)):
        data = batch(2, timestamp=timestamp, codec=(0, 1, 4)[i])
        script.quietly(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked("listed", data)]), 9)

    def ask(step: str, timestamp: int, *, name: str = "listed", version: int = 9, **more: Any) -> None:
        replica_id, isolation = more.pop("replica_id", -1), more.pop("isolation_level", 0)
        partition = ListOffsetsRequest.Topic.Partition(
            partition_index=more.pop("index", 0), timestamp=timestamp, **more
        )
        topic = ListOffsetsRequest.Topic(name=name, partitions=[partition])
        request = ListOffsetsRequest(replica_id=replica_id, isolation_level=isolation, topics=[topic])
        script.ask(f"list offsets/{step}", request, version)

    for timestamp in (-1, -2, -3, -4, -5, -6, -7, -100, 0, T0, T0 + 1, T0 + 2, T0 + 499, T0 + 501, T0 + 502, 2**62):
        ask(f"time {timestamp}", timestamp)
        if timestamp < 0 or timestamp == T0:
            ask(f"time {timestamp} of an empty one", timestamp, name="listed-empty")
    for timestamp, version in ((-3, 6), (-3, 7), (-4, 7), (-4, 8), (-5, 8), (-5, 9), (-6, 10), (-6, 11)):
        ask(f"time {timestamp} in version {version}", timestamp, version=version)
    ask("unknown topic", -1, name="nothing")
    ask("bad topic name", -1, name="bad/name")
    ask("unknown partition", -1, index=7)
    for epoch in (0, 1, -2):
        ask(f"leader epoch {epoch}", -1, current_leader_epoch=epoch)
    ask("committed", -1, isolation_level=1)
    ask("isolation 2", -1, isolation_level=2)
    ask("a follower", -1, replica_id=1)
    ask("an unknown follower", -1, replica_id=9)
    ask("a debugger", -1, replica_id=-2)
    topic = ListOffsetsRequest.Topic(
        name="listed",
        partitions=[ListOffsetsRequest.Topic.Partition(partition_index=0, timestamp=t) for t in (-1, -2)],
    )
    script.ask("list offsets/a partition twice", ListOffsetsRequest(replica_id=-1, topics=[topic]), 9)
    for version in range(1, 12):
        ask(f"version {version}", -1, version=version)


def epochs(script: Script) -> None:
    make(script, "epochs")
    script.quietly(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked("epochs", batch(3))]), 9)

    def ask(step: str, epoch: int, *, name: str = "epochs", version: int = 4, **where: int) -> None:
        partition = OffsetForLeaderEpochRequest.Topic.Partition(
            partition=where.get("index", 0), current_leader_epoch=where.get("current", -1), leader_epoch=epoch
        )
        topic = OffsetForLeaderEpochRequest.Topic(topic=name, partitions=[partition])
        more: Any = {"replica_id": -1} if version >= 3 else {}
        script.ask(f"offset for leader epoch/{step}", OffsetForLeaderEpochRequest(topics=[topic], **more), version)

    for epoch in (-2, -1, 0, 1, 2**31 - 1):
        ask(f"epoch {epoch}", epoch)
        ask(f"current epoch {epoch}", 0, current=epoch)
    ask("unknown topic", 0, name="nothing")
    ask("unknown partition", 0, index=7)
    for version in (2, 3, 4):
        ask(f"version {version}", 0, version=version)


def deleting(name: str, offset: int, index: int = 0) -> Any:
    partition = DeleteRecordsRequest.Topic.Partition(partition_index=index, offset=offset)
    return DeleteRecordsRequest.Topic(name=name, partitions=[partition])


def delete_records(script: Script) -> None:
    make(script, "trimmed")
    make(script, "kept", configs={"cleanup.policy": "compact"})
    for name in ("trimmed", "kept"):
        script.quietly(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked(name, batch(5))]), 9)

    def ask(step: str, *topics: Any, version: int = 2) -> None:
        script.ask(f"delete records/{step}", DeleteRecordsRequest(topics=list(topics), timeout_ms=5000), version)

    ask("nothing")
    for offset in (0, 2, 2, 1, -2, 6, 2**63 - 1):
        if f"delete records/to {offset}" not in script.steps:
            ask(f"to {offset}", deleting("trimmed", offset))
    ask("to the high watermark", deleting("trimmed", -1))
    ask("of a compacted topic", deleting("kept", 1))
    ask("unknown topic", deleting("nothing", 0))
    ask("bad topic name", deleting("bad/name", 0))
    ask("internal topic", deleting("__cluster_metadata", 0))
    ask("unknown partition", deleting("trimmed", 0, 7))
    ask("good and bad", deleting("trimmed", 5), deleting("nothing", 0))
    for version in range(3):
        ask(f"version {version}", deleting("trimmed", 5), version=version)


SECTIONS = (produce, idempotence, fetch, fetch_sessions, list_offsets, epochs, delete_records)
