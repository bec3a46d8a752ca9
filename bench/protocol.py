"""The protocol engine alone: microseconds per message, beside kio's native reader and its writer.

Every figure is the best of several repetitions, ours and kio's in turn, so that both see the same machine.
kio reads in native code and writes in Python. Run it with `python -m bench.protocol`.
"""

from __future__ import annotations

import argparse
import io
import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.figures import MISSED, Goal, ratio_at_most
from blumfeld.protocol.batch import RecordBatch, iterate_batches
from blumfeld.protocol.decoders import make_decoder
from blumfeld.protocol.encoders import make_encoder
from blumfeld.protocol.frame import decode_request_header, encode_request, encode_response
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.metadata import MetadataResponse
from blumfeld.protocol.messages.produce import ProduceRequest, ProduceResponse
from blumfeld.protocol.records import Record, build_batch, read_records

TOPIC_ID = bytes(range(16))
PRODUCE_DECODE = "Produce v9, decode, 1 partition of 1 KiB"
GOALS: dict[str, Goal] = {PRODUCE_DECODE: ratio_at_most(2.5)}


class Figure(NamedTuple):
    """What was measured, in µs; kio's beside it where it has the same; `GOALS` are about the ratio."""

    name: str
    ours: float
    kio: float | None = None

    @property
    def verdict(self) -> str:
        """Met, missed, or nothing where there is no goal or nobody to compare with."""
        goal = GOALS.get(self.name)
        return "" if goal is None else goal.judge(self.ours, self.ours / self.kio if self.kio else None)

    def __str__(self) -> str:
        beside = f"{self.kio:10.2f} {self.ours / self.kio:9.2f}×" if self.kio else ""
        bar = f"  must be {GOALS[self.name]}: {self.verdict}" if self.name in GOALS else ""
        return f"{self.name:48} {self.ours:10.2f} {beside}{bar}".rstrip()


def produce_request(records: Any) -> ProduceRequest:
    partition = ProduceRequest.Topic.Partition(index=3, records=records)
    topic = ProduceRequest.Topic(name="benchmark-topic", partition_data=[partition])
    return ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])


def produce_response() -> ProduceResponse:
    partition = ProduceResponse.Topic.Partition(index=3, error_code=0, base_offset=12345, log_start_offset=0)
    return ProduceResponse(responses=[ProduceResponse.Topic(name="benchmark-topic", partition_responses=[partition])])


def fetch_request(partitions: int) -> FetchRequest:
    wanted = [
        FetchRequest.Topic.Partition(partition=n, fetch_offset=1000 + n, partition_max_bytes=1 << 20)
        for n in range(partitions)
    ]
    topics = [FetchRequest.Topic(topic_id=TOPIC_ID, partitions=wanted)]
    return FetchRequest(max_wait_ms=500, min_bytes=1, topics=topics)


def fetch_response(partitions: int, records: Any) -> FetchResponse:
    found = [
        FetchResponse.Topic.Partition(
            partition_index=n,
            error_code=0,
            high_watermark=2000,
            last_stable_offset=2000,
            log_start_offset=0,
            aborted_transactions=None,
            records=records,
        )
        for n in range(partitions)
    ]
    return FetchResponse(responses=[FetchResponse.Topic(topic_id=TOPIC_ID, partitions=found)])


def metadata_response(partitions: int) -> MetadataResponse:
    found = [
        MetadataResponse.Topic.Partition(
            error_code=0,
            partition_index=n,
            leader_id=n % 3,
            leader_epoch=4,
            replica_nodes=[0, 1, 2],
            isr_nodes=[0, 1, 2],
        )
        for n in range(partitions)
    ]
    return MetadataResponse(
        brokers=[MetadataResponse.Broker(node_id=n, host="127.0.0.1", port=9092 + n) for n in range(3)],
        cluster_id="abcdefghijklmnopqrstuv",
        controller_id=1,
        topics=[MetadataResponse.Topic(error_code=0, name="topic", topic_id=TOPIC_ID, partitions=found)],
    )


def micros(*calls: Callable[[], object], number: int) -> list[float]:
    """The best time of each call, in µs; the calls take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(9):
        for index, call in enumerate(calls):
            best[index] = min(best[index], timeit.timeit(call, number=number) / number * 1e6)
    return best


def decoding(name: str, message: Any, version: int, module: str, number: int) -> Figure:
    """Decode, from the kind of buffer that a connection has, beside kio's reader of the same version."""
    data = message.encode(version)
    frame = memoryview(bytearray(data))
    decode = type(message).decode
    decode(frame, version)
    entity = _kio_entity(module, type(message).__name__)
    if entity is None:
        return Figure(name, *micros(lambda: decode(frame, version), number=number))
    from kio.serial import entity_reader

    read = entity_reader(entity)
    assert read(data, 0)[1] == len(data)
    return Figure(name, *micros(lambda: decode(frame, version), lambda: read(data, 0), number=number))


def encoding(name: str, message: Any, version: int, module: str, number: int) -> Figure:
    """Encode a message that exists, beside kio's writer of the same entity."""
    data = message.encode(version)
    entity = _kio_entity(module, type(message).__name__)
    if entity is None:
        return Figure(name, *micros(lambda: message.encode(version), number=number))
    from kio.serial import entity_reader, entity_writer

    content, write = entity_reader(entity)(data, 0)[0], entity_writer(entity)

    def write_all() -> bytes:
        buffer = io.BytesIO()
        write(buffer, content)
        return buffer.getvalue()

    assert write_all() == data
    return Figure(name, *micros(lambda: message.encode(version), write_all, number=number))


def _kio_entity(module: str, name: str) -> Any:
    try:
        found = __import__(f"kio.schema.{module}", fromlist=[name])
    except ImportError:
        return None
    return getattr(found, name)


def messages(scale: float) -> list[Figure]:
    """Whole messages of the hot paths."""
    few, many = max(1, int(20 * scale)), max(1, int(10_000 * scale))
    kib = bytes(1024)
    return [
        decoding(PRODUCE_DECODE, produce_request(kib), 9, "produce.v9.request", many),
        decoding("Fetch v13, decode, 1 partition", fetch_request(1), 13, "fetch.v13.request", many),
        decoding("Fetch v13, decode, 100 partitions", fetch_request(100), 13, "fetch.v13.request", few * 10),
        encoding("Produce v9 response, encode", produce_response(), 9, "produce.v9.response", many),
        encoding("Fetch v13 response, encode, 1 partition", fetch_response(1, kib), 13, "fetch.v13.response", many),
        encoding("Metadata v12, encode, 1,000 partitions", metadata_response(1000), 12, "metadata.v12.response", few),
        decoding("Metadata v12, decode, 1,000 partitions", metadata_response(1000), 12, "metadata.v12.response", few),
    ]


def pieces(scale: float) -> list[Figure]:
    """What surrounds the messages: objects, frames, batches, records, the compiler."""
    number = max(1, int(5_000 * scale))
    frame = b"".join(encode_request(ApiKey.PRODUCE, 9, 1, "client", produce_request(bytes(1024))))[4:]
    records = [Record(n, 1_700_000_000_000 + n, b"key", bytes(100)) for n in range(100)]
    batch = build_batch(records)
    large = RecordBatch(build_batch([Record(0, 0, None, bytes(65_536))]))
    response = produce_response()
    calls: list[tuple[str, Callable[[], object], int]] = [
        ("request header, decode", lambda: decode_request_header(frame), number),
        ("Produce response, make", produce_response, number),
        ("Produce response v9, whole frame", lambda: encode_response(1, 9, response), number),
        ("record batch, header", lambda: list(iterate_batches(batch)), number),
        ("record batch of 64 KiB, CRC", large.is_valid_crc, number),
        ("record batch, build, 100 records", lambda: build_batch(records), max(1, number // 50)),
        ("record batch, read, 100 records", lambda: list(read_records(RecordBatch(batch))), max(1, number // 50)),
        ("Fetch response v17, compile decoder", lambda: make_decoder(FetchResponse, 17), max(1, number // 500)),
        ("Fetch response v17, compile encoder", lambda: make_encoder(FetchResponse, 17), max(1, number // 500)),
    ]
    return [Figure(name, *micros(call, number=times)) for name, call, times in calls]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.protocol", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the repetitions to run (default 1)")
    scale = parser.parse_args(arguments).scale
    print(f"{'µs, best of 9':48} {'blumfeld':>10} {'kio':>10} {'ratio':>10}")
    missed = []
    for figure in (*messages(scale), *pieces(scale)):
        print(figure)
        if figure.verdict == MISSED:
            missed.append(figure.name)
    print(f"\nmissed: {'; '.join(missed)}" if missed else "\nevery goal that can be judged is met")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
