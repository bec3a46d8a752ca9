"""Deltas: what each record does, what is listed as changed, what is fatal, and what it costs."""

from __future__ import annotations

import time

import pytest

from blumfeld.cluster.image.configs import ConfigResource
from blumfeld.cluster.image.delta import MetadataDelta, UnknownMetadataRecordError
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.cluster.image.versions import record_version
from blumfeld.protocol.messages.metadata_log import (
    BeginTransactionRecord,
    BrokerRegistrationChangeRecord,
    ClearElrRecord,
    ConfigRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveAccessControlEntryRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
)
from blumfeld.protocol.schema import Record
from tests.cluster.controller.story import uuid
from tests.cluster.image.records import partition_record

ORDERS, USERS = uuid(1), uuid(2)


def image_of(*records: Record) -> MetadataImage:
    return MetadataDelta(EMPTY_IMAGE).replay_all(records).apply(len(records) - 1, 1)


def orders(partitions: int = 2) -> list[Record]:
    return [
        TopicRecord(name="orders", topic_id=ORDERS),
        *(partition_record(ORDERS, index, [1, 2]) for index in range(partitions)),
    ]


def broker(broker_id: int = 1, epoch: int = 5) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=broker_id, incarnation_id=uuid(9), broker_epoch=epoch, end_points=[], features=[], rack=None
    )


def test_only_what_changed_is_listed() -> None:
    image = image_of(*orders(3), TopicRecord(name="users", topic_id=USERS), partition_record(USERS, 0, [2]))
    delta = MetadataDelta(image)
    delta.replay(PartitionChangeRecord(partition_id=1, topic_id=ORDERS, isr=[2], leader=2))
    assert delta.topics is not None
    [(topic, index, partition)] = delta.topics.changed_partitions()
    assert (topic.name, index, partition.leader, partition.leader_epoch) == ("orders", 1, 2, 1)
    assert not topic.created
    previous = topic.previous_partition(1)
    assert previous is not None
    assert previous.leader == 1
    assert (delta.cluster, delta.configs, delta.features) == (None, None, None)
    after = delta.apply(9, 1)
    assert after.topics.by_name["users"] is image.topics.by_name["users"]
    assert after.topics.by_name["orders"].partitions[0] is image.topics.by_name["orders"].partitions[0]


def test_the_base_image_is_never_touched() -> None:
    image = image_of(*orders(), broker())
    snapshot = list(image.to_records())
    delta = MetadataDelta(image)
    delta.replay(PartitionChangeRecord(partition_id=0, topic_id=ORDERS, isr=[1]))
    delta.replay(RemoveTopicRecord(topic_id=ORDERS))
    delta.replay(UnregisterBrokerRecord(broker_id=1, broker_epoch=5))
    delta.apply(9, 1)
    assert list(image.to_records()) == snapshot


def test_a_new_topic_is_listed_as_created_and_a_removed_one_as_it_was() -> None:
    delta = MetadataDelta().replay_all(orders())
    assert delta.topics is not None
    assert delta.topics.changed[ORDERS].created
    image = delta.apply(2, 1)
    delta = MetadataDelta(image).replay_all([RemoveTopicRecord(topic_id=ORDERS)])
    assert delta.topics is not None
    assert delta.topics.deleted == {ORDERS: image.topics.by_id[ORDERS]}
    assert not delta.apply(3, 1).topics.by_name


def test_a_topic_made_and_removed_within_one_delta_never_was() -> None:
    delta = MetadataDelta().replay_all(
        [*orders(), ConfigRecord(resource_type=2, resource_name="orders", name="a", value="1")]
    )
    delta.replay(RemoveTopicRecord(topic_id=ORDERS))
    assert delta.topics is not None
    assert (delta.topics.changed, delta.topics.deleted) == ({}, {})
    assert delta.apply(4, 1).same_content(EMPTY_IMAGE)


def test_a_topic_of_the_same_name_may_follow_in_the_same_delta() -> None:
    image = image_of(*orders(), ConfigRecord(resource_type=2, resource_name="orders", name="old", value="1"))
    delta = MetadataDelta(image).replay_all(
        [
            RemoveTopicRecord(topic_id=ORDERS),
            TopicRecord(name="orders", topic_id=USERS),
            ConfigRecord(resource_type=2, resource_name="orders", name="new", value="2"),
            partition_record(USERS, 0, [3]),
        ]
    )
    after = delta.apply(9, 1)
    assert after.topics.by_name["orders"].id == USERS
    assert set(after.topics.by_id) == {USERS}
    assert after.configs.of_topic("orders") == {"new": "2"}
    assert delta.configs is not None
    assert delta.configs.changed == {ConfigResource.topic("orders"): {"old": None, "new": "2"}}


def test_every_change_raises_the_partition_epoch_and_a_leader_raises_the_leader_epoch() -> None:
    image = image_of(*orders(1))
    for change, epochs in (
        (PartitionChangeRecord(partition_id=0, topic_id=ORDERS, isr=[1]), (0, 1)),
        (PartitionChangeRecord(partition_id=0, topic_id=ORDERS, leader=1), (1, 2)),
        (PartitionChangeRecord(partition_id=0, topic_id=ORDERS, leader=-1), (2, 3)),
        (PartitionChangeRecord(partition_id=0, topic_id=ORDERS, leader_recovery_state=1), (2, 4)),
    ):
        image = MetadataDelta(image).replay_all([change]).apply(9, 1)
        partition = image.topics.by_id[ORDERS].partitions[0]
        assert (partition.leader_epoch, partition.partition_epoch) == epochs


def test_directories_follow_the_replicas_where_a_change_does_not_name_them() -> None:
    image = image_of(
        TopicRecord(name="orders", topic_id=ORDERS),
        partition_record(ORDERS, 0, [1, 2], directories=[uuid(11), uuid(12)]),
    )
    change = PartitionChangeRecord(partition_id=0, topic_id=ORDERS, replicas=[2, 3, 1])
    partition = MetadataDelta(image).replay_all([change]).apply(9, 1).topics.by_id[ORDERS].partitions[0]
    assert partition.directories == (uuid(12), bytes(16), uuid(11))


def test_brokers_are_fenced_and_unfenced_by_old_and_new_records() -> None:
    image = image_of(broker())
    for record, fenced in (
        (UnfenceBrokerRecord(id=1, epoch=5), False),
        (FenceBrokerRecord(id=1, epoch=5), True),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, fenced=-1), False),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, log_dirs=[uuid(3)]), False),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, fenced=1, in_controlled_shutdown=1), True),
    ):
        delta = MetadataDelta(image).replay_all([record])
        assert delta.cluster is not None
        assert set(delta.cluster.changed_brokers) == {1}
        image = delta.apply(9, 1)
        assert image.cluster.brokers[1].fenced is fenced
    assert image.cluster.brokers[1].in_controlled_shutdown
    assert image.cluster.brokers[1].directories == (uuid(3),)


def test_eligible_leader_replicas_are_cleared_for_one_topic_or_all() -> None:
    elr = {"eligible_leader_replicas": [2], "last_known_elr": [1]}
    records = [
        TopicRecord(name="orders", topic_id=ORDERS),
        partition_record(ORDERS, 0, [1, 2], **elr),
        TopicRecord(name="users", topic_id=USERS),
        partition_record(USERS, 0, [1, 2], **elr),
    ]
    image = MetadataDelta(image_of(*records)).replay_all([ClearElrRecord(topic_name="orders")]).apply(9, 1)
    assert [t.partitions[0].elr for t in image.topics.by_id.values()] == [(), (2,)]
    delta = MetadataDelta().replay_all([*records, ClearElrRecord(topic_name="")])
    assert [t.partitions[0].elr for t in delta.apply(9, 1).topics.by_id.values()] == [(), ()]


FATAL: dict[str, list[Record]] = {
    "unknown record": [BeginTransactionRecord()],
    "topic twice": orders(0) + orders(0),
    "topic id twice": [*orders(0), TopicRecord(name="other", topic_id=ORDERS)],
    "partition of nowhere": [partition_record(USERS, 0, [1])],
    "change of nothing": [*orders(1), PartitionChangeRecord(partition_id=7, topic_id=ORDERS, isr=[1])],
    "removal of nothing": [RemoveTopicRecord(topic_id=USERS)],
    "change of a removed topic": [
        *orders(1),
        RemoveTopicRecord(topic_id=ORDERS),
        PartitionChangeRecord(partition_id=0, topic_id=ORDERS, isr=[1]),
    ],
    "unknown broker": [BrokerRegistrationChangeRecord(broker_id=4, broker_epoch=1, fenced=1)],
    "other epoch": [broker(), BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=6, fenced=1)],
    "fencing": [broker(), BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, fenced=3)],
    "unknown ACL": [RemoveAccessControlEntryRecord(id=uuid(1))],
}


@pytest.mark.parametrize("case", FATAL)
def test_what_contradicts_the_image_is_fatal(case: str) -> None:
    expected = UnknownMetadataRecordError if case == "unknown record" else (AssertionError, KeyError)
    with pytest.raises(expected):
        MetadataDelta().replay_all(FATAL[case])


def test_a_no_op_changes_nothing() -> None:
    delta = MetadataDelta(image_of(*orders())).replay_all([NoOpRecord()])
    assert delta.topics is None
    assert delta.apply(9, 1).topics is delta.image.topics


def test_features_at_level_zero_are_not_kept() -> None:
    image = image_of(FeatureLevelRecord(name="group.version", feature_level=1))
    assert image.features.level("group.version") == 1
    delta = MetadataDelta(image).replay_all([FeatureLevelRecord(name="group.version", feature_level=0)])
    assert delta.features is not None
    assert delta.features.changed == {"group.version": 0}
    assert not delta.apply(9, 1).features.levels


@pytest.mark.parametrize(
    ("record", "versions"),
    [
        (broker(), {25: 3, 30: 4}),
        (partition_record(ORDERS, 0, [1]), {25: 2, 21: 1}),
        (PartitionChangeRecord(partition_id=0, topic_id=ORDERS), {25: 2, 21: 1}),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, fenced=1), {25: 0}),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, in_controlled_shutdown=1), {25: 1}),
        (BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, log_dirs=[uuid(1)]), {25: 2}),
        (TopicRecord(name="a", topic_id=ORDERS), {25: 0}),
    ],
)
def test_records_are_written_in_the_version_that_the_metadata_version_names(
    record: Record, versions: dict[int, int]
) -> None:
    for metadata_version, version in versions.items():
        assert record_version(record, metadata_version) == version


def test_the_cost_of_a_change_does_not_grow_with_the_number_of_topics() -> None:
    records: list[Record] = []
    for number in range(20_000):
        topic_id = uuid(number)
        records.append(TopicRecord(name=f"topic-{number}", topic_id=topic_id))
        records.append(partition_record(topic_id, 0, [1]))
    image = image_of(*records)
    change = PartitionChangeRecord(partition_id=0, topic_id=uuid(77), isr=[1], leader=1)
    best = min(_seconds_of(image, change) for _ in range(5))
    assert best < 0.005  # two flat copies of a dictionary: about 0.3 ms
    assert isinstance(records[1], PartitionRecord)


def _seconds_of(image: MetadataImage, change: Record) -> float:
    started = time.process_time()
    MetadataDelta(image).replay_all([change]).apply(1, 1)
    return time.process_time() - started
