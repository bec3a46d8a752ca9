"""The run: a real broker process, connections that send mutants, and behind each a request that must be answered.

Owns the broker's process, some connections at a time and the checks. A mutant and a good request go out together on one
connection; the good one must be answered there, or, where the broker closed the connection (or a mutant's reply is
waiting for something), on a new one. What is answered to a mutant must be a whole response of its version.

What must hold at the end: no traceback in the log, a log of bounded size, no more memory than `MAX_GROWTH_BYTES` over
that after the warm-up, and no file handles left behind.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blumfeld.broker.controller_apis import controller_table
from blumfeld.broker.dispatch import Api
from blumfeld.broker.table import SERVED
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.frame import decode_request_header, decode_response, encode_request
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest
from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.protocol.messages.produce import ProduceRequest
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest
from blumfeld.protocol.primitives import ZERO_UUID
from blumfeld.protocol.schema import Request
from blumfeld.testing import Cluster
from blumfeld.testing.cluster import BrokerHandle
from tests.protocol.golden.exchanges import clients, golden
from tests.sim.fuzz.batches import Batches
from tests.sim.fuzz.mutate import Mutant, Mutator
from tests.sim.fuzz.plausible import Plausible

CONNECTIONS = 12
MAX_GROWTH_BYTES = 64 << 20
MAX_LOG_BYTES = 1 << 20
MAX_FILES_LEFT = 60
"""Segment files may stay open, connections not: thousands were made."""
WARM_UP = 500
PATIENCE_S = 0.15
"""How long a mutant may keep the good request behind it waiting, before that one is asked elsewhere."""
ANSWER_S = 20.0
"""How long a good request may take on a connection of its own."""
SWEEP_EVERY = 2_000
STEADY = "steady"
FIRST_GOOD_ID = 0x40000000
TOPICS: dict[str, dict[str, str]] = {
    STEADY: {"max.message.bytes": "1048588", "retention.bytes": "10000000", "segment.bytes": "2000000"},
    "plain": {"segment.bytes": "2000000", "retention.bytes": "4000000"},
    "compact": {"cleanup.policy": "compact"},
    "lz4": {"compression.type": "lz4"},
    "stamped": {"message.timestamp.type": "LogAppendTime"},
    "strict": {"message.timestamp.before.max.ms": "1000", "message.timestamp.after.max.ms": "1000"},
}


def cases(table: Mapping[int, Api]) -> list[tuple[ApiKey, int]]:
    """Every API and version of a table; Produce 0 to 2 are announced and not served."""
    return [
        (ApiKey(key), version)
        for key, api in table.items()
        for version in range(api.first_version, api.last_version + 1)
        if version in request_class(ApiKey(key)).VERSIONS
    ]


CASES = cases(SERVED)


class Defect(AssertionError):
    """Something that must hold did not."""


@dataclass
class Tally:
    """What happened to the mutants."""

    ways: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    reached: int = 0
    rss_before: int = 0
    rss_after: int = 0
    log_bytes: int = 0
    files_left: int = 0

    def __str__(self) -> str:
        ways = ", ".join(f"{way} {count}" for way, count in self.ways.most_common())
        outcomes = ", ".join(f"{what} {count}" for what, count in self.outcomes.most_common())
        return (
            f"{self.sent} frames, {100 * self.reached // max(self.sent, 1)} % to a body decoder\n"
            f"  {ways}\n  {outcomes}\n"
            f"  RSS {self.rss_before >> 20} → {self.rss_after >> 20} MiB, log {self.log_bytes} bytes, "
            f"{self.files_left:+} files open"
        )


class Channel:
    """One connection to the broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Channel:
        return cls(*await asyncio.open_connection(*address))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> bytes | None:
        """The next frame, None where the connection is closed."""
        try:
            size = struct.unpack(">i", await self._reader.readexactly(4))[0]
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def abort(self) -> None:
        self._writer.transport.abort()


class Fuzzer:
    """One run of mutants against the listener at `address`, which serves `table`, of the process `pid`."""

    NODE_ID = 1

    def __init__(self, seed: int, address: tuple[str, int], pid: int, table: Mapping[int, Api] = SERVED) -> None:
        self.tally = Tally()
        self._table = table
        self._cases = cases(table)
        self._address = address
        self._pid = pid
        self._chance = random.Random(seed)
        self._topic_ids: list[bytes] = []
        self._plausible = Plausible(self._chance, self._topic_ids)
        self._mutator = Mutator(self._chance)
        self._golden = [exchange.request for client in clients() for exchange in golden(client)]
        self._good_id = FIRST_GOOD_ID
        self._left = 0
        self._recent: deque[Mutant] = deque(maxlen=3 * CONNECTIONS)
        self._batches = Batches(random.Random(0))

    async def run(self, frames: int) -> None:
        """Send the warm-up, then so many mutants. Raises Defect."""
        await self._prepare()
        await self._send(min(WARM_UP, frames))
        self.tally.rss_before = rss_bytes(self._pid)
        while self.tally.sent < frames:
            await self._send(min(SWEEP_EVERY, frames - self.tally.sent))
            await self._sweep()
        self.tally.rss_after = rss_bytes(self._pid)

    async def _send(self, count: int) -> None:
        self._left = count
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._work())

    async def _work(self) -> None:
        channel: Channel | None = None
        while self._left > 0:
            self._left -= 1
            mutant = self._mutant()
            self._recent.append(mutant)
            self.tally.sent += 1
            self.tally.ways[mutant.way] += 1
            self.tally.reached += mutant.reaches_decoder(self._table)
            try:
                channel = await self._try(channel or await Channel.open(self._address), mutant)
            except (Defect, ProtocolError, OSError) as error:
                raise Defect(f"{error!r} after {mutant.way} {describe(mutant)}\n{self.history()}") from error
        if channel is not None:
            channel.abort()

    def history(self) -> str:
        """The latest mutants that made sense as requests, oldest first."""
        return "\n".join(f"  {mutant.way}: {describe(mutant)}" for mutant in self._recent)

    # --- frames ------------------------------------------------------------------------------------------------

    def _mutant(self) -> Mutant:
        if self._chance.random() < 0.05:
            frame = self._chance.choice(self._golden)
        else:
            key, version = self._chance.choice(self._cases)
            request = self._plausible.request(request_class(key), version)
            client_id = self._chance.choice(("fuzz", "fuzz", None, "", "__admin_client"))
            frame = framed(request, version, self._chance.randrange(FIRST_GOOD_ID), client_id)[4:]
        while True:
            mutant = self._mutator.mutate(frame, len(frame) - len(decode_request_header(frame)[1]))
            if not unregisters(mutant.frame, self.NODE_ID):
                return mutant

    def _good(self) -> tuple[int, Request, int]:
        """A correlation id, and a request that any healthy broker answers."""
        self._good_id += 1
        choice = self._good_id % 8
        if choice == 0:
            partition = ProduceRequest.Topic.Partition(index=0, records=self._batches.sound())
            topic = ProduceRequest.Topic(name=STEADY, partition_data=[partition])
            return self._good_id, ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[topic]), 9
        if choice == 1:
            return self._good_id, MetadataRequest(topics=[MetadataRequest.Topic(name=STEADY)]), 9
        return self._good_id, ApiVersionsRequest(), 0

    # --- a mutant and the good request behind it ---------------------------------------------------------------

    async def _try(self, channel: Channel, mutant: Mutant) -> Channel | None:
        """Send both, see what comes; the connection, if it can still be used."""
        if not mutant.framed:
            channel.write(mutant.data)
            await asyncio.sleep(0)
            channel.abort()
            self._count("broken off")
            await self._ask_elsewhere()
            return None
        good = self._good()
        channel.write(mutant.data + framed(good[1], good[2], good[0]))
        try:
            async with asyncio.timeout(PATIENCE_S):
                kept = await self._read_until(channel, good, mutant)
        except TimeoutError:
            channel.abort()
            self._count("kept waiting")
            await self._ask_elsewhere()
            return None
        if kept:
            return channel
        channel.abort()
        self._count("closed")
        await self._ask_elsewhere()
        return None

    async def _read_until(self, channel: Channel, good: tuple[int, Request, int], mutant: Mutant) -> bool:
        """Read replies up to that of the good request; False where the connection was closed before."""
        answered = False
        while True:
            reply = await channel.read()
            if reply is None:
                return False
            if struct.unpack_from(">i", reply)[0] == good[0]:
                check_good(reply, good)
                if not answered:
                    self._count("no reply")
                return True
            if answered:
                raise Defect(f"a second reply: {reply[:200].hex()}")
            answered = True
            self._count("answered")
            self._learn(check_reply(reply, mutant.frame))

    async def _ask_elsewhere(self) -> None:
        good = self._good()
        try:
            async with asyncio.timeout(ANSWER_S):
                channel = await Channel.open(self._address)
                channel.write(framed(good[1], good[2], good[0]))
                reply = await channel.read()
        except (TimeoutError, OSError) as error:
            raise Defect(f"a good request was not answered within {ANSWER_S:.0f} s: {error!r}") from error
        if reply is None:
            raise Defect("the connection of a good request was closed")
        check_good(reply, good)
        channel.abort()

    def _count(self, outcome: str) -> None:
        self.tally.outcomes[outcome] += 1

    def _learn(self, response: Any) -> None:
        """Ids of members that joined make requests that get further."""
        member_id = getattr(response, "member_id", None)
        if member_id:
            self._plausible.members.append(member_id)
            del self._plausible.members[:-20]

    # --- the scene ---------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await self._ask(
            CreateTopicsRequest(
                topics=[
                    CreateTopicsRequest.Topic(
                        name=name,
                        num_partitions=2,
                        replication_factor=1,
                        assignments=[],
                        configs=[CreateTopicsRequest.Topic.Config(name=k, value=v) for k, v in configs.items()],
                    )
                    for name, configs in TOPICS.items()
                ],
                timeout_ms=5000,
            ),
            7,
        )
        response = await self._ask(MetadataRequest(topics=None, allow_auto_topic_creation=False), 12)
        self._topic_ids[:] = [
            topic.topic_id for topic in response.topics if topic.name in TOPICS and topic.name != STEADY
        ]
        if len(self._topic_ids) < len(TOPICS) - 1:
            raise Defect(f"only {len(self._topic_ids)} topics are there")

    async def _sweep(self) -> None:
        """Delete the topics that mutants have made; make those again that they have deleted."""
        response = await self._ask(MetadataRequest(topics=None, allow_auto_topic_creation=False), 12)
        doomed = [t.name for t in response.topics if t.name not in TOPICS and not t.is_internal]
        if doomed:
            topics = [DeleteTopicsRequest.Topic(name=name, topic_id=ZERO_UUID) for name in doomed]
            await self._ask(DeleteTopicsRequest(topics=topics, timeout_ms=10_000), 6)
        await self._prepare()

    async def _ask(self, request: Request, version: int) -> Any:
        channel = await Channel.open(self._address)
        self._good_id += 1
        channel.write(framed(request, version, self._good_id))
        asking: Awaitable[bytes | None] = channel.read()
        async with asyncio.timeout(ANSWER_S):
            reply = await asking
        channel.abort()
        if reply is None:
            raise Defect(f"{type(request).__name__} was not answered")
        return decode_response(reply, type(request).KEY, version)[1]


def framed(request: Request, version: int, correlation_id: int, client_id: str | None = "good") -> bytes:
    """A whole frame."""
    return b"".join(map(bytes, encode_request(type(request).KEY, version, correlation_id, client_id, request)))


def check_good(reply: bytes, good: tuple[int, Request, int]) -> None:
    """Raise Defect unless it is the right answer to a good request."""
    correlation_id, request, version = good
    answered_id, response = decode_response(reply, type(request).KEY, version)
    answer: Any = response
    if answered_id != correlation_id:
        raise Defect(f"the answer to {answered_id} came for {correlation_id}")
    match request:
        case ProduceRequest():
            error = answer.responses[0].partition_responses[0].error_code
        case MetadataRequest():
            error = answer.topics[0].error_code or (0 if len(answer.topics[0].partitions) >= 2 else -1)
        case _:
            error = answer.error_code
    if error:
        raise Defect(f"a good {type(request).__name__} was answered with error {error}")


def check_reply(reply: bytes, frame: bytes) -> Any:
    """The response to a mutant. Raises Defect where it is not one of its API and version."""
    key, version, correlation_id = struct.unpack_from(">hhi", frame)
    if struct.unpack_from(">i", reply)[0] != correlation_id:
        raise Defect(f"the reply has another correlation id: {reply[:100].hex()}")
    if key == ApiKey.API_VERSIONS and version not in request_class(ApiKey.API_VERSIONS).VERSIONS:
        return ApiVersionsResponse.decode(reply[4:], 0)
    try:
        return decode_response(reply, ApiKey(key), version)[1]
    except (ProtocolError, LookupError, ValueError) as error:
        raise Defect(f"{ApiKey(key).name} {version} was answered with {reply[:1000].hex()}: {error}") from error


def unregisters(frame: bytes, node_id: int) -> bool:
    """Whether it is a request that would rightly put the broker out of the cluster."""
    if not frame.startswith(int(ApiKey.UNREGISTER_BROKER).to_bytes(2)):
        return False
    try:
        header, body = decode_request_header(frame)
        request = UnregisterBrokerRequest.decode(body, header.request_api_version)
    except ProtocolError:
        return False
    return request.broker_id == node_id


def describe(mutant: Mutant) -> str:
    """What the broker saw, as far as it could be decoded, and the bytes."""
    try:
        header, body = decode_request_header(mutant.frame)
        key, version = ApiKey(header.request_api_key), header.request_api_version
        shown = f"{key.name} {version}: {request_class(key).decode(body, version)!r}"
    except (ProtocolError, LookupError, ValueError) as error:
        shown = repr(error)
    return f"{shown[:700]} {mutant.data[:400].hex()}"


def rss_bytes(pid: int) -> int:
    """The memory that a process has now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise Defect(f"process {pid} has no memory: it is gone")


def open_files(pid: int) -> int:
    """How many file handles a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class ControllerFuzzer(Fuzzer):
    """The same for a controller listener, where there is nothing to prepare and no topic to produce to."""

    def _good(self) -> tuple[int, Request, int]:
        self._good_id += 1
        return self._good_id, ApiVersionsRequest(), 0

    async def _prepare(self) -> None:
        """Topics are not made here."""

    async def _sweep(self) -> None:
        """Nor deleted."""


def fuzz_controller(frames: int, seed: int) -> Tally:
    """A run against the controller listener of one of three nodes; the cluster works afterwards. Raises Defect."""
    with Cluster(brokers=3, config={"group.initial.rebalance.delay.ms": "0"}) as cluster:
        broker = cluster.broker
        address = (broker.host, cluster._plan.nodes[0].controller_port)
        fuzzer = ControllerFuzzer(seed, address, broker.pid, controller_table())
        _drive(fuzzer, frames, seed, broker)
        topic = cluster.kafka.topic(partitions=3, replication_factor=3)
        cluster.kafka.produce(topic, b"still here")
    return fuzzer.tally


def fuzz(frames: int, seed: int, data: Path) -> Tally:
    """A run with a broker of its own, which keeps its data in `data`. Raises Defect."""
    config = {"group.initial.rebalance.delay.ms": "0", "log.retention.check.interval.ms": "2000"}
    with Cluster(data=data, config=config) as cluster:
        broker = cluster.broker
        fuzzer = Fuzzer(seed, (broker.host, broker.port), broker.pid)
        _drive(fuzzer, frames, seed, broker)
    return fuzzer.tally


def _drive(fuzzer: Fuzzer, frames: int, seed: int, broker: BrokerHandle) -> None:
    """Run, and judge what is left of the broker."""
    log = Path(broker.process.log_file)
    files = open_files(broker.pid)
    try:
        asyncio.run(fuzzer.run(frames))
    except* (Defect, OSError) as errors:
        raise Defect(f"seed {seed}: {errors.exceptions[0]}\n{fuzzer.tally}\n{log.read_text()[-6000:]}") from errors
    if not broker.is_running:
        raise Defect(f"seed {seed}: the broker is gone:\n{log.read_text()[-6000:]}")
    fuzzer.tally.files_left = _settled(broker.pid, files) - files
    _judge(fuzzer.tally, log.read_text(), seed)


def _settled(pid: int, at_most: int) -> int:
    """How many files the broker holds once the connections of the run are closed on its side too."""
    deadline = time.monotonic() + 10
    while open_files(pid) > at_most and time.monotonic() < deadline:
        time.sleep(0.05)
    return open_files(pid)


def _judge(tally: Tally, log: str, seed: int) -> None:
    tally.log_bytes = len(log)
    if "Traceback" in log:
        raise Defect(f"seed {seed}: a traceback in the log\n{tally}\n{log[log.index('Traceback') - 2000 :][:6000]}")
    if tally.log_bytes > MAX_LOG_BYTES:
        raise Defect(f"seed {seed}: {tally.log_bytes} bytes of log\n{tally}\n{log[-3000:]}")
    if tally.rss_after - tally.rss_before > MAX_GROWTH_BYTES:
        raise Defect(f"seed {seed}: memory grew too much\n{tally}")
    if tally.files_left > MAX_FILES_LEFT:
        raise Defect(f"seed {seed}: {tally.files_left} more files are open than before\n{tally}")
    if tally.reached * 2 < tally.sent:
        raise Defect(f"seed {seed}: less than half reached a decoder\n{tally}")
