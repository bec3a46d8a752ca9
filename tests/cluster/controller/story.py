"""A controller without a quorum: deciders run, their records are written, read back and replayed at once.

controller = Controller().with_brokers(1, 2, 3)
controller.create("orders", partitions=3, replication_factor=3)
controller.fence(1)
assert controller.partition("orders", 0).leader == 2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from blumfeld.cluster.controller.config_rules import ConfigRules
from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.cluster.controller.periodic import Periodic
from blumfeld.cluster.controller.sessions import BrokerSessions
from blumfeld.cluster.controller.settings import ControllerSettings
from blumfeld.cluster.controller.table import decider
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import MetadataImage
from blumfeld.cluster.image.topics import PartitionRegistration
from blumfeld.cluster.image.versions import encode_record
from blumfeld.config.sources import Config, Layer
from blumfeld.env.entropy import SeededEntropy
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.alter_partition import AlterPartitionRequest
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from blumfeld.protocol.messages.metadata_log import FeatureLevelRecord, decode_metadata_record
from blumfeld.protocol.schema import Record, Request

CLUSTER_ID = "AAAAAAAAQAC5AAAAAAAAAA"
FEATURES = {"metadata.version": (7, 30)}


def uuid(number: int) -> bytes:
    """A UUID outside the reserved range."""
    return (1 << 70 | number).to_bytes(16, "big")


class Controller:
    """The active controller of node 9, driven by hand. `now` is in seconds."""

    def __init__(
        self, properties: Mapping[str, str] | None = None, *, voter_ids: Iterable[int] = (9,), **settings: Any
    ) -> None:
        config = Config([Layer("test", properties or {})])
        self.settings = ControllerSettings.from_config(config, node_id=9, cluster_id=CLUSTER_ID)._replace(
            configs=ConfigRules(config, 9), voter_ids=frozenset(voter_ids), **settings
        )
        self.now = 100.0
        self.entropy = SeededEntropy(7)
        self.sessions = BrokerSessions(self.settings.session_timeout_s, own_id=9)
        self.periodic = Periodic(self.settings, self.sessions, self.now)
        self.image = MetadataImage()
        self.offset = 0
        self.written: list[Record] = []
        """The records of the last decision."""
        self.incarnations: dict[int, bytes] = {}
        self.append([FeatureLevelRecord(name="metadata.version", feature_level=25)])

    # Running deciders.

    def send(self, request: Request, version: int | None = None) -> Any:
        """Decide, append, replay; the answer as the asker decodes it."""
        high = type(request).VERSIONS.high
        version = high if version is None else version
        decide = decider(ApiKey(type(request).KEY))
        assert decide is not None
        decision = decide(self.turn(version), request)
        self.apply(decision)
        return type(request).RESPONSE.decode(decision.response.encode(version), version)

    def turn(self, version: int = 0) -> Turn:
        context = ControllerContext(version)
        return Turn(self.image, self.sessions, self.settings, self.entropy, context, self.now, self.offset)

    def apply(self, decision: Decision[Any]) -> None:
        self.append(decision.records)

    def append(self, records: Sequence[Record]) -> None:
        """Write records as the log would hold them, and replay what was read back."""
        version = self.image.features.metadata_version
        delta = MetadataDelta(self.image)
        for record in records:
            read_back = decode_metadata_record(encode_record(record, version))
            assert read_back == record
            delta.replay(read_back)
        self.written = list(records)
        if records:
            self.offset += len(records)
            self.image = delta.apply(self.offset - 1, 1)

    # Brokers.

    def register(self, broker_id: int, **changes: Any) -> BrokerRegistrationResponse:
        """Register an incarnation of a broker; the one before, unless `incarnation` says otherwise."""
        incarnation = changes.pop("incarnation", self.incarnations.get(broker_id, uuid(broker_id)))
        features = changes.pop("features", FEATURES)
        fields: dict[str, Any] = {
            "broker_id": broker_id,
            "cluster_id": CLUSTER_ID,
            "incarnation_id": incarnation,
            "listeners": [
                BrokerRegistrationRequest.Listener(
                    name="PLAINTEXT", host="localhost", port=9000 + broker_id, security_protocol=0
                )
            ],
            "features": [
                BrokerRegistrationRequest.Feature(name=n, min_supported_version=low, max_supported_version=high)
                for n, (low, high) in features.items()
            ],
            "rack": None,
            "log_dirs": [uuid(1000 + broker_id)],
            **changes,
        }
        response: BrokerRegistrationResponse = self.send(BrokerRegistrationRequest(**fields))
        if response.error_code == ErrorCode.NONE:
            self.incarnations[broker_id] = incarnation
        return response

    def heartbeat(self, broker_id: int, **changes: Any) -> BrokerHeartbeatResponse:
        """A heartbeat of a broker that has applied all metadata and wants to serve."""
        known = self.image.cluster.brokers.get(broker_id)
        fields: dict[str, Any] = {
            "broker_id": broker_id,
            "broker_epoch": known.epoch if known else -1,
            "current_metadata_offset": self.offset - 1,
            "want_fence": False,
            "want_shut_down": False,
            **changes,
        }
        response: BrokerHeartbeatResponse = self.send(BrokerHeartbeatRequest(**fields))
        return response

    def with_brokers(self, *broker_ids: int, **changes: Any) -> Self:
        """Registered and unfenced brokers; rack by id: `racks={1: "a", …}`."""
        racks: Mapping[int, str] = changes.pop("racks", {})
        for broker_id in broker_ids:
            assert self.register(broker_id, rack=racks.get(broker_id), **changes).error_code == ErrorCode.NONE
            assert not self.heartbeat(broker_id).is_fenced
        return self

    def fence(self, broker_id: int) -> None:
        """The broker asks to be fenced, as when its disk is in trouble."""
        assert self.heartbeat(broker_id, want_fence=True).is_fenced

    def unfence(self, broker_id: int) -> None:
        assert not self.heartbeat(broker_id).is_fenced

    def pass_time(self, seconds: float) -> None:
        """Time goes by, and the periodic turns that fall due are run when they are due."""
        end = self.now + seconds
        while (deadline := self.periodic.next_deadline(self.image)) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.take_turns(self.now)
        self.now = end

    def take_turns(self, deadline: float) -> None:
        for decide in self.periodic.on_time(self.image, self.now, deadline):
            decision = decide(self.turn())
            self.apply(decision)
            if decision.response:
                self.periodic.again(decide, self.now)

    # Topics.

    def create(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        *,
        assignments: Sequence[Sequence[int]] = (),
        configs: Mapping[str, str | None] | None = None,
        **changes: Any,
    ) -> CreateTopicsResponse.Topic:
        """Create one topic; its result."""
        topic = new_topic(name, partitions, replication_factor, assignments=assignments, configs=configs)
        response: CreateTopicsResponse = self.send(CreateTopicsRequest(topics=[topic], **changes))
        [result] = response.topics
        return result

    def with_topic(self, name: str, *args: Any, **changes: Any) -> Self:
        result = self.create(name, *args, **changes)
        assert result.error_code == ErrorCode.NONE, result
        return self

    def partition(self, name: str, index: int = 0) -> PartitionRegistration:
        found = self.image.topics.partition_by_name(name, index)
        assert found is not None
        return found

    def topic_id(self, name: str) -> bytes:
        topic = self.image.topics.get(name)
        assert topic is not None
        return topic.id

    def alter_isr(self, name: str, isr: Sequence[int], index: int = 0, **changes: Any) -> Any:
        """AlterPartition by the present leader, with the present epochs unless told otherwise; its answer."""
        partition = self.partition(name, index)
        broker_id = changes.pop("broker_id", partition.leader)
        broker = self.image.cluster.brokers.get(broker_id)
        broker_epoch = changes.pop("broker_epoch", broker.epoch if broker else -1)
        member_epochs: Mapping[int, int] = changes.pop("member_epochs", {})
        proposal: dict[str, Any] = {
            "partition_index": index,
            "leader_epoch": partition.leader_epoch,
            "partition_epoch": partition.partition_epoch,
            "new_isr_with_epochs": [
                AlterPartitionRequest.Topic.Partition.BrokerState(
                    broker_id=member, broker_epoch=member_epochs.get(member, self.epoch_of(member))
                )
                for member in isr
            ],
            **changes,
        }
        request = AlterPartitionRequest(
            broker_id=broker_id,
            broker_epoch=broker_epoch,
            topics=[
                AlterPartitionRequest.Topic(
                    topic_id=self.topic_id(name), partitions=[AlterPartitionRequest.Topic.Partition(**proposal)]
                )
            ],
        )
        response = self.send(request)
        return response.topics[0].partitions[0] if response.topics else response

    def is_fenced(self, broker_id: int) -> bool:
        return self.image.cluster.brokers[broker_id].fenced

    def epoch_of(self, broker_id: int) -> int:
        broker = self.image.cluster.brokers.get(broker_id)
        return -1 if broker is None else broker.epoch


def new_topic(
    name: str,
    partitions: int = -1,
    replication_factor: int = -1,
    *,
    assignments: Sequence[Sequence[int]] = (),
    configs: Mapping[str, str | None] | None = None,
) -> CreateTopicsRequest.Topic:
    return CreateTopicsRequest.Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        assignments=[
            CreateTopicsRequest.Topic.Assignment(partition_index=index, broker_ids=list(replicas))
            for index, replicas in enumerate(assignments)
        ],
        configs=[CreateTopicsRequest.Topic.Config(name=key, value=value) for key, value in (configs or {}).items()],
    )
