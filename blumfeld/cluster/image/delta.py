"""What a run of metadata records changes: one `replay(record)`, the same on brokers, on controllers and for snapshots.

Owns the mapping from record type to aspect. Must never know where records come from. Invariants: the base image is
never touched; an unknown record is fatal (the feature levels we claim protect us); NoOp changes nothing; Begin, End
and Abort of a metadata transaction are the loader's and never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from blumfeld.cluster.image.cluster import ClusterDelta
from blumfeld.cluster.image.configs import ConfigsDelta
from blumfeld.cluster.image.features import FeaturesDelta
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.cluster.image.security import SecurityDelta
from blumfeld.cluster.image.topics import TopicDelta, TopicsDelta
from blumfeld.protocol.messages import metadata_log as log
from blumfeld.protocol.schema import Record


class UnknownMetadataRecordError(AssertionError):
    """A record that this version cannot replay: going on would fork the cluster's truth, so the node stops."""


class MetadataDelta:
    """Changes on top of `image`. An aspect's delta is None while nothing in it has changed: act on what is there.

    delta.topics.changed_partitions(), delta.topics.deleted, delta.cluster.changed_brokers, delta.configs.changed, …
    """

    __slots__ = ("cluster", "configs", "features", "image", "next_producer_id", "security", "topics")

    def __init__(self, image: MetadataImage = EMPTY_IMAGE) -> None:
        self.image = image
        self.features: FeaturesDelta | None = None
        self.cluster: ClusterDelta | None = None
        self.topics: TopicsDelta | None = None
        self.configs: ConfigsDelta | None = None
        self.security: SecurityDelta | None = None
        self.next_producer_id = image.next_producer_id

    def replay(self, record: Record) -> None:
        """Take one record in. UnknownMetadataRecordError, AssertionError where it contradicts the image: both fatal."""
        replay = _REPLAY.get(type(record))
        if replay is None:
            raise UnknownMetadataRecordError(f"metadata record {type(record).__name__} cannot be replayed")
        replay(self, record)

    def replay_all(self, records: Iterable[Record]) -> MetadataDelta:
        for record in records:
            self.replay(record)
        return self

    def apply(self, offset: int, epoch: int) -> MetadataImage:
        """The image after these changes, whose last record has this offset and epoch."""
        image = self.image
        return MetadataImage(
            offset,
            epoch,
            self.features.apply() if self.features else image.features,
            self.cluster.apply() if self.cluster else image.cluster,
            self.topics.apply() if self.topics else image.topics,
            self.configs.apply() if self.configs else image.configs,
            self.next_producer_id,
            self.security.apply() if self.security else image.security,
        )

    # Each aspect's delta comes into being with its first change.

    def touch_features(self) -> FeaturesDelta:
        if self.features is None:
            self.features = FeaturesDelta(self.image.features)
        return self.features

    def touch_cluster(self) -> ClusterDelta:
        if self.cluster is None:
            self.cluster = ClusterDelta(self.image.cluster)
        return self.cluster

    def touch_topics(self) -> TopicsDelta:
        if self.topics is None:
            self.topics = TopicsDelta(self.image.topics)
        return self.topics

    def touch_configs(self) -> ConfigsDelta:
        if self.configs is None:
            self.configs = ConfigsDelta(self.image.configs)
        return self.configs

    def touch_security(self) -> SecurityDelta:
        if self.security is None:
            self.security = SecurityDelta(self.image.security)
        return self.security


def _remove_topic(delta: MetadataDelta, record: log.RemoveTopicRecord) -> None:
    name = delta.touch_topics().replay_remove_topic(record)
    delta.touch_configs().replay_topic_removed(name)


def _set_next_producer_id(delta: MetadataDelta, record: log.ProducerIdsRecord) -> None:
    delta.next_producer_id = record.next_producer_id


def _zk_migration_state(delta: MetadataDelta, record: log.ZkMigrationStateRecord) -> None:
    delta.touch_features().zk_migration_state = record.zk_migration_state


_REPLAY: Final[dict[type[Record], Callable[[MetadataDelta, Any], None]]] = {
    log.RegisterBrokerRecord: lambda d, r: d.touch_cluster().replay_register_broker(r),
    log.UnregisterBrokerRecord: lambda d, r: d.touch_cluster().replay_unregister_broker(r.broker_id, r.broker_epoch),
    log.TopicRecord: lambda d, r: d.touch_topics().replay_topic(r),
    log.PartitionRecord: lambda d, r: d.touch_topics().replay_partition(r),
    log.ConfigRecord: lambda d, r: d.touch_configs().replay_config(r),
    log.PartitionChangeRecord: lambda d, r: d.touch_topics().replay_partition_change(r),
    log.FenceBrokerRecord: lambda d, r: d.touch_cluster().replay_fencing(r.id, r.epoch, True),
    log.UnfenceBrokerRecord: lambda d, r: d.touch_cluster().replay_fencing(r.id, r.epoch, False),
    log.RemoveTopicRecord: _remove_topic,
    log.DelegationTokenRecord: lambda d, r: d.touch_security().tokens.__setitem__(r.token_id, r),
    log.UserScramCredentialRecord: lambda d, r: d.touch_security().scram.__setitem__((r.name, r.mechanism), r),
    log.FeatureLevelRecord: lambda d, r: d.touch_features().replay_feature_level(r),
    log.ClientQuotaRecord: lambda d, r: d.touch_security().replay_quota(r),
    log.ProducerIdsRecord: _set_next_producer_id,
    log.BrokerRegistrationChangeRecord: lambda d, r: d.touch_cluster().replay_registration_change(r),
    log.AccessControlEntryRecord: lambda d, r: d.touch_security().acls.__setitem__(r.id, r),
    log.RemoveAccessControlEntryRecord: lambda d, r: d.touch_security().acls.__delitem__(r.id),
    log.NoOpRecord: lambda _d, _r: None,
    log.ZkMigrationStateRecord: _zk_migration_state,
    log.RemoveUserScramCredentialRecord: lambda d, r: d.touch_security().scram.__delitem__((r.name, r.mechanism)),
    log.RemoveDelegationTokenRecord: lambda d, r: d.touch_security().tokens.__delitem__(r.token_id),
    log.RegisterControllerRecord: lambda d, r: d.touch_cluster().replay_register_controller(r),
    log.ClearElrRecord: lambda d, r: d.touch_topics().replay_clear_elr(r.topic_name),
    log.UnregisterControllerRecord: lambda d, r: d.touch_cluster().replay_unregister_controller(r.controller_id),
}


def difference(old: MetadataImage, new: MetadataImage) -> MetadataDelta:
    """The delta that leads from `old` to `new`, for consumers when a snapshot has replaced the log."""
    delta = MetadataDelta(old)
    delta.next_producer_id = new.next_producer_id
    if new.features != old.features:
        features = delta.touch_features()
        features.zk_migration_state = new.features.zk_migration_state
        names = {*old.features.levels, *new.features.levels}
        features.changed = {n: new.features.level(n) for n in names if old.features.level(n) != new.features.level(n)}
    if new.cluster != old.cluster:
        cluster = delta.touch_cluster()
        for broker_id in {*old.cluster.brokers, *new.cluster.brokers}:
            broker = new.cluster.brokers.get(broker_id)
            if broker != old.cluster.brokers.get(broker_id):
                cluster.changed_brokers[broker_id] = broker
        for controller_id in {*old.cluster.controllers, *new.cluster.controllers}:
            controller = new.cluster.controllers.get(controller_id)
            if controller != old.cluster.controllers.get(controller_id):
                cluster.changed_controllers[controller_id] = controller
    _difference_of_topics(delta, old, new)
    _difference_of_configs(delta, old, new)
    if new.security != old.security:
        delta.security = SecurityDelta(new.security)
    return delta


def _difference_of_topics(delta: MetadataDelta, old: MetadataImage, new: MetadataImage) -> None:
    for topic_id, topic in old.topics.by_id.items():
        if topic_id not in new.topics.by_id:
            delta.touch_topics().deleted[topic_id] = topic
    for topic_id, topic in new.topics.by_id.items():
        previous = old.topics.by_id.get(topic_id)
        if previous == topic:
            continue
        changed = delta.touch_topics().changed[topic_id] = TopicDelta(topic.name, topic_id, previous)
        for index, partition in topic.partitions.items():
            if changed.previous_partition(index) != partition:
                changed.partitions[index] = partition


def _difference_of_configs(delta: MetadataDelta, old: MetadataImage, new: MetadataImage) -> None:
    for resource in {*old.configs.resources, *new.configs.resources}:
        before, after = old.configs.of(resource), new.configs.of(resource)
        if before != after:
            delta.touch_configs().changed[resource] = {
                name: after.get(name) for name in {*before, *after} if before.get(name) != after.get(name)
            }
