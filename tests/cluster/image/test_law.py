"""The law of the image: replaying what it writes gives it again, whatever happened before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.cluster.image.delta import MetadataDelta, difference
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.cluster.image.versions import encode_record
from blumfeld.protocol.messages.metadata_log import (
    AccessControlEntryRecord,
    ClientQuotaRecord,
    ConfigRecord,
    DelegationTokenRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UserScramCredentialRecord,
    ZkMigrationStateRecord,
    decode_metadata_record,
)
from blumfeld.protocol.schema import Record
from tests.cluster.controller.story import Controller, uuid
from tests.cluster.image.records import partition_record

names = st.sampled_from(["orders", "users", "clicks"])
small = st.integers(0, 5)
uuids = st.integers(1, 6).map(uuid)
texts = st.text(max_size=8)

independent_records = st.one_of(
    st.builds(
        RegisterBrokerRecord,
        broker_id=small,
        incarnation_id=uuids,
        broker_epoch=st.integers(0, 2**40),
        end_points=st.lists(
            st.builds(
                RegisterBrokerRecord.Endpoint,
                name=st.just("PLAINTEXT"),
                host=texts,
                port=st.integers(0, 65535),
                security_protocol=small,
            ),
            max_size=1,
        ),
        features=st.lists(
            st.builds(
                RegisterBrokerRecord.Feature,
                name=st.just("metadata.version"),
                min_supported_version=small,
                max_supported_version=small,
            ),
            max_size=1,
        ),
        rack=st.none() | texts,
        fenced=st.booleans(),
        in_controlled_shutdown=st.booleans(),
        log_dirs=st.lists(uuids, max_size=2, unique=True),
    ),
    st.builds(
        RegisterControllerRecord,
        controller_id=small,
        incarnation_id=uuids,
        zk_migration_ready=st.booleans(),
        end_points=st.just([]),
        features=st.just([]),
    ),
    st.builds(
        ConfigRecord, resource_type=st.sampled_from([2, 4, 16, 32]), resource_name=names, name=texts, value=texts
    ),
    st.builds(
        ConfigRecord, resource_type=st.sampled_from([2, 4]), resource_name=names, name=texts, value=st.none() | texts
    ),
    st.builds(FeatureLevelRecord, name=st.sampled_from(["metadata.version", "group.version"]), feature_level=small),
    st.builds(ProducerIdsRecord, broker_id=small, next_producer_id=st.integers(0, 2**60)),
    st.builds(ZkMigrationStateRecord, zk_migration_state=small),
    st.builds(
        ClientQuotaRecord,
        entity=st.lists(
            st.builds(
                ClientQuotaRecord.Entity, entity_type=st.sampled_from(["user", "ip"]), entity_name=st.none() | texts
            ),
            max_size=2,
            unique_by=lambda entity: entity.entity_type,
        ),
        key=names,
        value=st.floats(0, 1e9),
        remove=st.booleans(),
    ),
    st.builds(
        UserScramCredentialRecord,
        name=names,
        mechanism=small,
        salt=st.binary(max_size=4),
        stored_key=st.binary(max_size=4),
        server_key=st.binary(max_size=4),
        iterations=small,
    ),
    st.builds(
        AccessControlEntryRecord,
        id=uuids,
        resource_type=small,
        resource_name=texts,
        pattern_type=small,
        principal=texts,
        host=texts,
        operation=small,
        permission_type=small,
    ),
    st.builds(
        DelegationTokenRecord,
        owner=texts,
        requester=texts,
        renewers=st.lists(texts, max_size=2),
        issue_timestamp=small,
        max_timestamp=small,
        expiration_timestamp=small,
        token_id=names,
    ),
)


def replayed(records: list[Record]) -> MetadataImage:
    """Through the bytes of the log, as a snapshot would be."""
    delta = MetadataDelta(EMPTY_IMAGE)
    for record in records:
        delta.replay(decode_metadata_record(encode_record(record, 25)))
    return delta.apply(len(records) - 1, 1)


def check_law(image: MetadataImage) -> None:
    again = replayed(list(image.to_records()))
    assert again.same_content(image)
    assert list(again.to_records()) == list(image.to_records())


@given(records=st.lists(independent_records, max_size=20))
def test_what_is_written_is_what_was_replayed(records: list[Record]) -> None:
    image = replayed(records)
    check_law(image)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_law_holds_through_the_life_of_a_cluster(data: st.DataObject) -> None:
    controller = Controller().with_brokers(1, 2, 3)
    for _ in range(data.draw(st.integers(1, 25))):
        before = controller.image
        live(controller, data)
        check_law(controller.image)
        if controller.image is not before:
            check_difference(before, controller.image)


def live(controller: Controller, data: st.DataObject) -> None:
    """Something happens."""
    topics = sorted(controller.image.topics.by_name)
    action = data.draw(st.sampled_from(["create", "delete", "fence", "unfence", "isr", "config", "leave", "return"]))
    broker = data.draw(st.integers(1, 3))
    if action == "create":
        controller.create(data.draw(names), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    elif action == "delete" and topics:
        controller.append([RemoveTopicRecord(topic_id=controller.topic_id(data.draw(st.sampled_from(topics))))])
    elif action == "fence":
        controller.heartbeat(broker, want_fence=True)
    elif action == "unfence":
        controller.heartbeat(broker)
    elif action == "leave":
        controller.heartbeat(broker, want_shut_down=True)
    elif action == "return":
        controller.sessions.remove(broker)
        controller.register(broker, incarnation=uuid(data.draw(st.integers(10, 99))))
    elif action == "isr" and topics:
        name = data.draw(st.sampled_from(topics))
        partition = controller.partition(name)
        isr = data.draw(st.lists(st.sampled_from(partition.replicas), min_size=1, unique=True))
        controller.alter_isr(name, isr)
    elif action == "config":
        resource = data.draw(names)
        controller.append(
            [ConfigRecord(resource_type=2, resource_name=resource, name="a", value=data.draw(st.none() | texts))]
        )


def check_difference(old: MetadataImage, new: MetadataImage) -> None:
    """A delta made from two images leads from one to the other, both ways."""
    assert difference(old, new).apply(new.offset, new.epoch) == new
    assert difference(new, old).apply(old.offset, old.epoch) == old
    nothing = difference(new, new)
    assert nothing.topics is None
    assert nothing.cluster is None
    assert nothing.configs is None


def test_a_snapshot_keeps_what_has_no_reader_yet() -> None:
    records: list[Record] = [
        FeatureLevelRecord(name="metadata.version", feature_level=25),
        TopicRecord(name="orders", topic_id=uuid(1)),
        partition_record(uuid(1), 0, [1, 2]),
        PartitionChangeRecord(partition_id=0, topic_id=uuid(1), eligible_leader_replicas=[2], last_known_elr=[1]),
    ]
    image = replayed(records)
    partition = image.topics.partition(uuid(1), 0)
    assert partition is not None
    assert (partition.elr, partition.last_known_elr) == ((2,), (1,))
    check_law(image)
