"""The shell around the deciders: one term after the other, answers released when records are committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from blumfeld.cluster.controller import brokers, watch
from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.decision import Turn
from blumfeld.cluster.controller.registration import controller_registration
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES, ControllerSettings
from blumfeld.cluster.controller.shell import QuorumController
from blumfeld.cluster.image.cluster import BrokerRegistration, Endpoint
from blumfeld.cluster.loader import MetadataLoader
from blumfeld.cluster.raft.listener import BatchTooLargeError, CommittedBatch, LeaderAndEpoch
from blumfeld.cluster.raft.voters import ReplicaKey, Voter, VoterSet
from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import ManualClock
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from blumfeld.protocol.messages.metadata_log import BeginTransactionRecord, NoOpRecord, encode_metadata_record
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest
from blumfeld.protocol.schema import Record
from tests.cluster.controller.story import CLUSTER_ID, FEATURES, new_topic, uuid


class Quorum:
    """A replica of a quorum that commits when the story says so."""

    def __init__(self) -> None:
        self.voters = VoterSet([Voter(ReplicaKey(9), ())])
        self.batches: list[CommittedBatch] = []
        self.log_end_offset = 0
        self.high_watermark = 0
        self.leads_in: int | None = None
        self.resigned: list[int] = []
        self.at_once = False
        self.max_batch_bytes = 1 << 20
        self.listeners: list[Any] = []

    def append(self, records: Sequence[bytes], epoch: int) -> int:
        if epoch != self.leads_in:
            raise RuntimeError("this replica does not lead")
        if sum(map(len, records)) > self.max_batch_bytes:
            raise BatchTooLargeError("too large")
        base = self.log_end_offset
        self.log_end_offset += len(records)
        self.batches.append(CommittedBatch(base, self.log_end_offset - 1, epoch, 0, list(records), 0))
        if self.at_once:
            self.commit()
        return self.log_end_offset - 1

    def resign(self, epoch: int) -> None:
        self.resigned.append(epoch)

    async def handle(self, request: Any, api_version: int | None = None) -> Any:
        return f"{type(request).__name__} answered by the quorum"

    def commit(self) -> None:
        """Everything appended is on a majority's disks."""
        batches = [batch for batch in self.batches if batch.base_offset >= self.high_watermark]
        self.high_watermark = self.log_end_offset
        for listener in self.listeners:
            listener.on_commit(batches)

    def elect(self, epoch: int) -> None:
        """This node leads: the epoch's first record is a control record, committed before anybody is told."""
        self.leads_in = epoch
        self.batches.append(CommittedBatch(self.log_end_offset, self.log_end_offset, epoch, 0, [], 0))
        self.log_end_offset += 1
        self.commit()
        for listener in self.listeners:
            listener.on_leader_change(LeaderAndEpoch(9, epoch))

    def depose(self, epoch: int) -> None:
        """Another node leads; what was not committed is gone."""
        self.leads_in = None
        self.batches = [batch for batch in self.batches if batch.last_offset < self.high_watermark]
        self.log_end_offset = self.high_watermark
        for listener in self.listeners:
            listener.on_leader_change(LeaderAndEpoch(8, epoch))


class Story:
    """A controller with its loader and quorum."""

    def __init__(self, **properties: str) -> None:
        self.clock = ManualClock()
        real = Env.real()
        self.env = Env(self.clock, SeededEntropy(3), real.disk, real.network)
        self.quorum = Quorum()
        self.faults: list[str] = []
        self.loader = MetadataLoader(self.faults.append)
        config = Config([Layer("test", {name.replace("_", "."): value for name, value in properties.items()})])
        settings = ControllerSettings.from_config(config, node_id=9, cluster_id=CLUSTER_ID)
        self.controller = QuorumController(self.env, settings, self.quorum, self.loader, on_fault=self.faults.append)
        self.quorum.listeners = [self.loader, self.controller]

    def active(self) -> Story:
        self.quorum.elect(1)
        self.quorum.commit()
        return self

    def ask(self, request: Any, connection_id: int = -1) -> asyncio.Future[Any]:
        context = ControllerContext(type(request).VERSIONS.high, connection_id=connection_id)
        return asyncio.ensure_future(self.controller.handle(request, context))

    def create(self, *names: str) -> asyncio.Future[Any]:
        return self.ask(CreateTopicsRequest(topics=[new_topic(name, 1, 1) for name in names]))

    async def with_broker(self, broker_id: int = 1, port: int = 9001, connection_id: int = -1) -> Story:
        request = BrokerRegistrationRequest(
            broker_id=broker_id,
            cluster_id=CLUSTER_ID,
            incarnation_id=uuid(broker_id),
            listeners=[
                BrokerRegistrationRequest.Listener(name="PLAINTEXT", host="127.0.0.1", port=port, security_protocol=0)
            ],
            features=[
                BrokerRegistrationRequest.Feature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in FEATURES.items()
            ],
            rack=None,
            log_dirs=[uuid(1000 + broker_id)],
        )
        registering = self.ask(request)
        self.quorum.commit()
        epoch = (await registering).broker_epoch
        beating = self.ask(
            BrokerHeartbeatRequest(
                broker_id=broker_id,
                broker_epoch=epoch,
                current_metadata_offset=epoch,
                want_fence=False,
                want_shut_down=False,
            ),
            connection_id,
        )
        self.quorum.commit()
        assert not (await beating).is_fenced
        return self

    def in_transaction(self) -> bool:
        return self.loader.in_transaction

    def is_fenced(self, broker_id: int = 1) -> bool:
        return self.controller.image.cluster.brokers[broker_id].fenced


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    story = Story()
    yield story
    await story.controller.stop()


async def eventually(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_node_that_does_not_lead_is_no_controller(story: Story) -> None:
    assert not story.controller.is_active
    response = await story.create("orders")
    assert [topic.error_code for topic in response.topics] == [ErrorCode.NOT_CONTROLLER]


async def test_taking_over_an_empty_log_writes_the_metadata_version_first(story: Story) -> None:
    story.quorum.elect(1)
    assert story.controller.is_active
    assert story.controller.image.features.metadata_version == 25
    assert story.loader.image.features.levels == {}
    story.quorum.commit()
    assert story.loader.image.features.levels == {"metadata.version": 25}


async def test_metadata_that_cannot_be_read_is_no_empty_log(story: Story) -> None:
    story.quorum.leads_in = 1
    story.quorum.append([b"no record"], 1)
    story.quorum.elect(2)
    assert len(story.faults) == 1
    assert story.loader.has_failed
    assert story.quorum.log_end_offset == 2
    assert not story.controller.is_active


async def test_an_answer_waits_for_its_records_and_for_their_publication(story: Story) -> None:
    await story.active().with_broker()
    seen: list[set[str]] = []
    creating = story.create("orders")
    creating.add_done_callback(lambda _: seen.append(set(story.loader.image.topics.by_name)))
    await asyncio.sleep(0)
    assert not creating.done()
    assert "orders" in story.controller.image.topics.by_name
    assert "orders" not in story.loader.image.topics.by_name
    story.quorum.commit()
    assert (await creating).topics[0].error_code == ErrorCode.NONE
    await asyncio.sleep(0)
    assert seen == [{"orders"}]


async def test_more_than_a_batch_may_hold_is_refused_and_costs_nobody_the_controller(story: Story) -> None:
    await story.active().with_broker()
    story.quorum.max_batch_bytes = 200
    response = await story.create("a", "b", "c", "d")
    assert [topic.error_code for topic in response.topics] == [ErrorCode.RECORD_LIST_TOO_LARGE] * 4
    assert story.controller.is_active
    assert story.quorum.resigned == []
    creating = story.create("a")
    await asyncio.sleep(0)
    story.quorum.commit()
    assert (await creating).topics[0].error_code == ErrorCode.NONE


async def test_the_next_decision_sees_the_one_before_though_nothing_is_committed(story: Story) -> None:
    await story.active().with_broker()
    first, second = story.create("orders"), story.create("orders")
    reading = story.ask(ListPartitionReassignmentsRequest(topics=None))
    await asyncio.sleep(0)
    assert not any(future.done() for future in (first, second, reading))  # the refusal too rests on what may be lost
    story.quorum.commit()
    assert (await first).topics[0].error_code == ErrorCode.NONE
    assert (await second).topics[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert (await reading).topics == []


async def test_a_quorum_that_commits_within_the_append_is_served_too(story: Story) -> None:
    story.quorum.at_once = True
    await story.active().with_broker()
    response = await story.create("orders")
    assert response.topics[0].error_code == ErrorCode.NONE
    assert story.controller.image is story.loader.image


async def test_once_all_is_committed_the_image_is_shared_with_the_loader(story: Story) -> None:
    await story.active().with_broker()
    creating = story.create("orders")
    story.quorum.commit()
    await creating
    assert story.controller.image is story.loader.image


async def test_on_losing_leadership_those_who_wait_are_told_and_nothing_speculative_stays(story: Story) -> None:
    await story.active().with_broker()
    creating = story.create("orders")
    await asyncio.sleep(0)
    story.quorum.depose(2)
    assert (await creating).topics[0].error_code == ErrorCode.NOT_CONTROLLER
    assert not story.controller.is_active
    story.quorum.elect(3)
    assert "orders" not in story.controller.image.topics.by_name
    again = story.create("orders")
    story.quorum.commit()
    assert (await again).topics[0].error_code == ErrorCode.NONE


async def test_a_quorum_that_refuses_to_append_ends_the_term(story: Story) -> None:
    await story.active().with_broker()
    story.quorum.leads_in = None
    response = await story.create("orders")
    assert response.topics[0].error_code == ErrorCode.NOT_CONTROLLER
    assert story.quorum.resigned == [1]
    assert not story.controller.is_active


async def test_a_decider_that_fails_changes_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await story.active().with_broker()

    def fail(turn: Any, request: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("blumfeld.cluster.controller.shell.decider", lambda key: fail)
    with caplog.at_level(logging.CRITICAL, "blumfeld.cluster.controller.shell"):
        response = await story.create("orders")
    assert response.topics[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    monkeypatch.undo()
    creating = story.create("orders")
    story.quorum.commit()
    assert (await creating).topics[0].error_code == ErrorCode.NONE


async def test_an_open_transaction_of_a_former_controller_is_aborted(story: Story) -> None:
    story.quorum.leads_in = 1
    story.active()
    story.quorum.append([encode_metadata_record(BeginTransactionRecord(name="x"), 0)], 1)
    story.quorum.append([encode_metadata_record(NoOpRecord(), 0)], 1)
    story.quorum.commit()
    assert story.in_transaction()
    story.quorum.elect(2)
    story.quorum.commit()
    assert not story.in_transaction()
    assert story.loader.image.offset == story.quorum.log_end_offset - 1


async def test_what_only_the_quorum_knows_is_asked_of_it(story: Story) -> None:
    answer = await story.ask(DescribeQuorumRequest(topics=[]))
    assert answer == "DescribeQuorumRequest answered by the quorum"


async def test_a_waiting_asker_may_give_up(story: Story) -> None:
    await story.active().with_broker()
    creating = story.create("orders")
    await asyncio.sleep(0)
    creating.cancel()
    other = story.create("users")
    story.quorum.commit()
    assert (await other).topics[0].error_code == ErrorCode.NONE


async def test_a_controller_that_takes_over_registers_itself_once() -> None:
    story = Story()
    registration = controller_registration(9, uuid(9), [Endpoint("CONTROLLER", "localhost", 9093)], SUPPORTED_FEATURES)
    story.controller = QuorumController(
        story.env,
        story.controller._settings,
        story.quorum,
        story.loader,
        registration=registration,
        on_fault=story.faults.append,
    )
    story.quorum.listeners = [story.loader, story.controller]
    story.active()
    known = story.loader.image.cluster.controllers[9]
    assert (known.incarnation_id, known.listeners["CONTROLLER"].port) == (uuid(9), 9093)
    offset = story.quorum.log_end_offset
    story.quorum.elect(2)
    assert story.quorum.log_end_offset == offset + 1
    await story.controller.stop()


async def test_who_must_support_a_feature_is_known_from_the_quorum() -> None:
    story = Story()
    story.quorum.voters = VoterSet([Voter(ReplicaKey(8), ()), Voter(ReplicaKey(9), ())])
    await story.active().with_broker(9)
    update = UpdateFeaturesRequest.FeatureUpdate(feature="metadata.version", max_version_level=24, upgrade_type=3)
    answering = asyncio.ensure_future(
        story.controller.handle(UpdateFeaturesRequest(feature_updates=[update]), ControllerContext(api_version=1))
    )
    await asyncio.sleep(0)
    story.quorum.commit()
    response = await answering
    texts = [response.error_message, *(result.error_message for result in response.results)]
    assert any("controller 8 has not registered" in (text or "") for text in texts)


async def test_alone_there_is_no_timer(story: Story) -> None:
    await story.active().with_broker(9)
    assert story.controller._timer is None


async def test_a_silent_broker_is_fenced_by_the_one_timer() -> None:
    story = Story(broker_session_timeout_ms="50")
    await story.active().with_broker(1)
    assert not story.is_fenced()
    story.clock.advance(0.06)
    await eventually(story.is_fenced)
    await story.controller.stop()


async def test_a_periodic_turn_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fence = brokers.fencing_records

    def fail_for_the_first(turn: Turn, broker: BrokerRegistration) -> list[Record]:
        if broker.id == 1:
            raise LookupError("unheard of")
        return fence(turn, broker)

    monkeypatch.setattr(brokers, "fencing_records", fail_for_the_first)
    story = Story(broker_session_timeout_ms="50")
    await story.active().with_broker(1)
    await story.with_broker(2)
    story.clock.advance(0.06)
    await eventually(lambda: story.is_fenced(2))
    assert "unheard of" in caplog.text
    await story.controller.stop()


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSES_S", (0.0, 0.02))


@pytest.mark.usefixtures("quick_probes")
async def test_a_broker_whose_listener_refuses_connections_is_fenced_when_its_connection_breaks(story: Story) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await story.active().with_broker(1, port, connection_id=5)
    story.controller.connection_lost(4)
    story.controller.connection_lost(5)
    await eventually(lambda: not story.controller._watch._probes)
    story.clock.advance(1)
    await asyncio.sleep(0.05)
    assert not story.is_fenced()  # somebody listens: no evidence
    await story.with_broker(1, port, connection_id=6)
    server.close()
    await server.wait_closed()
    story.controller.connection_lost(6)
    await eventually(lambda: not story.controller._watch._probes)
    story.clock.advance(0.251)
    await eventually(story.is_fenced)


@pytest.mark.usefixtures("quick_probes")
async def test_a_dying_process_may_still_take_a_connection(story: Story) -> None:
    taken = asyncio.Event()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await story.active().with_broker(1, port, connection_id=5)
    story.controller.connection_lost(5)
    await taken.wait()
    server.close()
    await server.wait_closed()
    await eventually(lambda: not story.controller._watch._probes)
    story.clock.advance(0.251)
    await eventually(story.is_fenced)


async def test_a_broker_whose_heartbeats_are_back_is_not_looked_for(story: Story) -> None:
    await story.active().with_broker(1, port=1, connection_id=5)
    story.controller.connection_lost(5)
    await story.with_broker(1, port=1, connection_id=6)
    await eventually(lambda: not story.controller._watch._probes)
    story.clock.advance(0.251)
    await asyncio.sleep(0.02)
    assert not story.is_fenced()


async def test_brokers_inherited_from_a_former_controller_are_probed() -> None:
    story = Story()
    await story.active().with_broker(1, port=1)  # nobody listens there
    story.quorum.depose(2)
    story.quorum.elect(3)
    await eventually(lambda: not story.controller._watch._probes)
    story.clock.advance(0.251)
    await eventually(story.is_fenced)
    await story.controller.stop()
