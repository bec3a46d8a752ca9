"""Our raft replica and Apache Kafka's, in one quorum; and Kafka's own tool on our log and snapshots.

An observer of a real controller reads its log byte for byte; a voter beside a real controller votes, is voted for, and
carries the high watermark, whichever of the two leads.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from blumfeld.broker.api.api_versions import announce
from blumfeld.broker.dispatch import Api, Dispatcher
from blumfeld.broker.listener import Listener
from blumfeld.cluster.link import Link, LinkError, Links
from blumfeld.cluster.raft.bootstrap import write_bootstrap_checkpoint
from blumfeld.cluster.raft.driver import RaftDriver
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from blumfeld.config.sources import Config
from blumfeld.env.environment import Env
from blumfeld.launch.ports import free_port
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.metadata_log import (
    FeatureLevelRecord,
    NoOpRecord,
    TopicRecord,
    decode_metadata_record,
    encode_metadata_record,
)
from blumfeld.protocol.primitives import uuid_from_text
from tests.cluster.raft.drivers import Recorder, wait_for
from tests.interop.java import class_path, require_java
from tests.interop.test_java_tools import DUMP, tool

pytestmark = pytest.mark.java

CLUSTER_ID = "AAAAAAAAQAC5AAAAAAAAAA"
HOST = "127.0.0.1"
METADATA = "__cluster_metadata-0"
NAME = "CONTROLLER"
RAFT_APIS = (
    (ApiKey.FETCH, 4, 18),
    (ApiKey.VOTE, 0, 2),
    (ApiKey.BEGIN_QUORUM_EPOCH, 0, 1),
    (ApiKey.END_QUORUM_EPOCH, 0, 1),
    (ApiKey.DESCRIBE_QUORUM, 0, 2),
    (ApiKey.FETCH_SNAPSHOT, 0, 1),
)


@contextmanager
def kafka_controller(
    directory: Path, port: int, *format_options: str, **properties: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A real controller, node 1, formatted and started."""
    settings = {
        "process.roles": "controller",
        "node.id": "1",
        "listeners": f"{NAME}://{HOST}:{port}",
        "controller.listener.names": NAME,
        "listener.security.protocol.map": f"{NAME}:PLAINTEXT",
        "log.dirs": str(directory / "data"),
    } | {name.replace("_", "."): value for name, value in properties.items()}
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "server.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    if not (directory / "data" / "meta.properties").exists():
        tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file), "-r", "4.0", *format_options)
    command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", class_path(require_java())]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "kafka.Kafka", str(file)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def answers(env: Env, port: int) -> None:
    """Wait until somebody answers there."""
    link = Link(env, HOST, port, connect_timeout_ms=500)
    for _ in range(600):
        try:
            await link.connect()
        except LinkError:
            await asyncio.sleep(0.05)
        else:
            return link.close()
    raise AssertionError("the controller does not come up")


class Ours:
    """Our replica, with a listener of its own."""

    def __init__(self, env: Env, driver: RaftDriver, recorder: Recorder) -> None:
        self.env, self.driver, self.recorder = env, driver, recorder


@asynccontextmanager
async def our_replica(
    directory: Path, node_id: int, port: int, raft: RaftOptions | None = None, **options: Any
) -> AsyncIterator[Ours]:
    env = Env.real()
    links = Links(env, client_id="raft")
    recorder = Recorder()
    driver = RaftDriver(
        env,
        str(directory / METADATA),
        node_id=node_id,
        directory_id=bytes([node_id]) * 16,
        cluster_id=CLUSTER_ID,
        links=links,
        options=raft,
        **options,
    )
    driver.register(recorder)
    table: dict[int, Api] = {}
    table |= {
        int(key): Api(
            key, first, last, lambda: lambda raft, context, request: raft.handle(request, context.api_version)
        )
        for key, first, last in RAFT_APIS
    }
    table[int(ApiKey.API_VERSIONS)] = Api(
        ApiKey.API_VERSIONS, 0, 4, lambda: lambda raft, context, request: announce(table.values(), context, request)
    )
    listener = Listener(NAME, env, Config(), Dispatcher(driver, table))
    await listener.start(HOST, port)
    await driver.start()
    try:
        yield Ours(env, driver, recorder)
    finally:
        await driver.stop()
        await listener.stop()
        links.close()


def log_bytes(directory: Path) -> bytes:
    return (directory / METADATA / "00000000000000000000.log").read_bytes()


async def test_an_observer_reads_a_real_controllers_log(tmp_path: Path) -> None:
    port = free_port(HOST)
    bootstrap = f"{HOST}:{port}"
    settings = {"controller_quorum_bootstrap_servers": bootstrap}
    with kafka_controller(tmp_path / "kafka", port, "--standalone", **settings):
        await answers(Env.real(), port)
        async with our_replica(tmp_path / "ours", 7, free_port(HOST), bootstrap=[(HOST, port)]) as ours:
            await wait_for(lambda: len(ours.recorder.records) > 5, timeout_s=60)
            assert ours.driver.leader_id == 1
            assert ours.driver.voters.ids == {1}
            assert ours.driver.controller_endpoint(1) == (HOST, port)
            kinds = {type(decode_metadata_record(record)).__name__ for record in ours.recorder.records}
            assert "FeatureLevelRecord" in kinds
            described = await _describe(ours.env, port)
            assert [observer.replica_id for observer in described.observers] == [7]
        mine, theirs = log_bytes(tmp_path / "ours"), log_bytes(tmp_path / "kafka" / "data")
        assert len(mine) > 500
        assert theirs.startswith(mine)


async def _describe(env: Env, port: int) -> Any:
    kind = DescribeQuorumRequest.Topic
    link = Link(env, HOST, port)
    topic = kind(topic_name="__cluster_metadata", partitions=[kind.Partition(partition_index=0)])
    response = await link.send(DescribeQuorumRequest(topics=[topic]))
    link.close()
    return response.topics[0].partitions[0]


async def test_a_quorum_of_two_with_a_real_controller(tmp_path: Path) -> None:
    """Static voters (kraft.version 0): neither commits anything without the other, and each leads once."""
    port, own_port = free_port(HOST), free_port(HOST)
    voters = f"1@{HOST}:{port},2@{HOST}:{own_port}"
    static = VoterSet(
        Voter(ReplicaKey(node_id), (Endpoint(NAME, HOST, at),)) for node_id, at in ((1, port), (2, own_port))
    )
    kafka = tmp_path / "kafka"
    options = {"static_voters": static, "listeners": [Endpoint(NAME, HOST, own_port)]}
    # The real one is to lead first: it writes what it needs. And neither is to give the other up because it is slow.
    patient = RaftOptions(startup_election_timeout_ms=60_000, fetch_timeout_ms=30_000, request_timeout_ms=10_000)
    properties = {
        "controller_quorum_voters": voters,
        "controller_quorum_fetch_timeout_ms": "30000",
        "controller_quorum_request_timeout_ms": "10000",
    }
    async with our_replica(tmp_path / "ours", 2, own_port, patient, **options) as ours:
        with kafka_controller(kafka, port, **properties) as controller:
            await wait_for(lambda: len(ours.recorder.records) > 3, timeout_s=60)
            assert ours.driver.leader_id == 1
            await _commits_go_on(ours)
            assert (await _describe(ours.env, port)).leader_id == 1
            controller.terminate()  # it resigns in our favour, and votes for us
            await wait_for(lambda: ours.driver.leader_id == 2, timeout_s=60)
            await asyncio.get_running_loop().run_in_executor(None, controller.wait)
        committed = ours.driver.high_watermark
        with kafka_controller(kafka, port, **properties):
            await wait_for(lambda: ours.driver.high_watermark > committed, timeout_s=60)
            assert ours.recorder.leaders[-1].leader_id == 2
            ours.driver.append([encode_metadata_record(NoOpRecord(), 0)], ours.recorder.leaders[-1].epoch)
            await _commits_go_on(ours)
            described = await _describe(ours.env, own_port)
            assert (described.leader_id, [voter.replica_id for voter in described.current_voters]) == (2, [1, 2])
            assert json.loads((tmp_path / "ours" / METADATA / "quorum-state").read_text())["data_version"] == 0
    mine, theirs = log_bytes(tmp_path / "ours"), log_bytes(kafka / "data")
    assert len(theirs) > 500
    assert mine.startswith(theirs)


async def _commits_go_on(ours: Ours) -> None:
    committed = ours.driver.high_watermark
    await wait_for(lambda: ours.driver.high_watermark > committed, timeout_s=60)


async def test_kafkas_own_tool_reads_our_log_and_snapshots(tmp_path: Path) -> None:
    env = Env.real()
    directory = tmp_path / METADATA
    own = Endpoint(NAME, HOST, 19093)
    voters = VoterSet([Voter(ReplicaKey(1, bytes([1]) * 16), (own,))])
    write_bootstrap_checkpoint(env.disk, str(directory), voters, now_ms=env.clock.time_ms())
    topic = TopicRecord(name="a-topic", topic_id=uuid_from_text("BwcHBwcHBwcHBwcHBwcHBw"))
    records = [
        encode_metadata_record(FeatureLevelRecord(name="metadata.version", feature_level=25), 0),
        encode_metadata_record(topic, 0),
    ]
    for _ in range(2):
        async with our_replica(tmp_path, 1, 0, listeners=[own]) as ours:
            offset = ours.driver.append(records, ours.recorder.leaders[-1].epoch)
            await wait_for(lambda: ours.driver.high_watermark > offset)  # noqa: B023
            end = ours.recorder.end
            assert await ours.driver.write_snapshot(end, env.clock.time_ms(), records)
    files = ",".join(sorted(str(file) for file in directory.iterdir() if file.suffix in (".log", ".checkpoint")))
    dumped = tool(DUMP, "--cluster-metadata-decoder", "--files", files)
    assert dumped.count('"data":{"name":"a-topic","topicId":"BwcHBwcHBwcHBwcHBwcHBw"}') == 4
    assert dumped.count('LeaderChange: {"version":0,"leaderId":1') == 2
    assert dumped.count('KRaftVersion {"version":0,"kRaftVersion":1}') == 4  # 0-0, the first epoch, two snapshots
    assert dumped.count('"endpoints":[{"name":"CONTROLLER","host":"127.0.0.1","port":19093}]') == 4
    assert dumped.count("SnapshotHeader") == dumped.count("SnapshotFooter") == 3
    assert "isvalid: false" not in dumped
