"""All replicas of this broker: the table, and what metadata does to it.

Owns the table (topic id or name, partition) → `Partition`, the ISR turn, and the telling of those who wait. Applies
metadata deltas: creates, leads, follows and deletes. (The high-watermark checkpoint is the log manager's: it owns the
file, each log knows its high watermark.)

Must never know the wire, nor sockets: what is to be followed, proposed or woken is told to three collaborators.

Invariants
- A partition is in both tables or in none, under one topic id.
- Before `begin` nothing is acted on: what is replayed at the start is history, in which this broker may have led in
  epochs long gone, or have had replicas that were taken from it and given back.
- After any change of a partition `settle` was called: nobody waits for what has happened already.
- A partition is fetched exactly while this broker follows it, it has a leader, and its log directory is online.
- No task and no timer belongs to a partition.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.configs import ConfigResource, ConfigResourceType
from blumfeld.cluster.image.delta import difference
from blumfeld.cluster.image.directories import LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from blumfeld.cluster.image.image import EMPTY_IMAGE
from blumfeld.cluster.partition import NO_LEADER, Partition
from blumfeld.cluster.watching import PartitionWatcher, Signal
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.errors import StorageError

if TYPE_CHECKING:
    from blumfeld.cluster.image.delta import MetadataDelta
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.cluster.image.topics import PartitionRegistration
    from blumfeld.cluster.isr import IsrProposal
    from blumfeld.config.sources import Config
    from blumfeld.env.clock import Clock
    from blumfeld.storage.manager import LogManager

__all__ = ["Followed", "LeadershipListener", "PartitionWatcher", "ReplicaManager"]

_log = logging.getLogger(__name__)
_NO_PARTITIONS: Final[Mapping[int, Partition]] = {}
MIN_INSYNC_REPLICAS: Final = "min.insync.replicas"
METADATA_TOPIC: Final = "__cluster_metadata"


class LeadershipListener(Protocol):
    """Somebody who wants to know which partitions this broker leads: the coordinators."""

    def on_elected(self, partition: Partition) -> None:
        """This broker leads the partition in a new leader epoch."""
        ...

    def on_resigned(self, topic: str, index: int, leader_epoch: int | None) -> None:
        """This broker leads it no more; the epoch is that of the new leader, None when the replica is deleted."""
        ...


class Followed(Protocol):
    """Whoever fetches what is followed: `fetcher.Fetchers`."""

    def follow(self, partition: Partition) -> None:
        """Fetch it from its leader from now on; anew where it was fetched already."""
        ...

    def unfollow(self, partition: Partition) -> None:
        """Fetch it no more; fine where it was not."""
        ...

    def brokers_changed(self, broker_ids: Iterable[int]) -> None:
        """These brokers registered, went, or moved."""
        ...

    def drop_idle(self) -> None:
        """A run of metadata is through: give up what nothing is fetched over any more."""
        ...


class ReplicaManager:
    """The replicas of one broker.

    Args:
        logs: the logs here.
        membership: this broker and its view of the others; `cluster` in it is kept current.
        clock: monotonic seconds.
        config: replica.lag.time.max.ms and the defaults of topics.
        wake: tells the purgatory that a signal moved (`Purgatory.check`).
        followed: the fetchers.
        propose: sends ISR proposals to the controller (`IsrChanges.submit`).
        note_directory: tells the controller where a replica lies (`DirectoryAssignments.note`).
    """

    def __init__(
        self,
        logs: LogManager,
        membership: Membership,
        clock: Clock,
        config: Config,
        *,
        wake: Callable[[Signal], None],
        followed: Followed,
        propose: Callable[[IsrProposal], None],
        note_directory: Callable[[bytes, int, bytes], None],
    ) -> None:
        self.logs = logs
        self.membership = membership
        self.image: MetadataImage = EMPTY_IMAGE
        self._clock = clock
        self._static = self._config = config
        self._max_lag_s = config.int("replica.lag.time.max.ms") / 1000
        self.wake = wake
        self._followed = followed
        self._propose = propose
        self._note_directory = note_directory
        self._by_id: dict[bytes, dict[int, Partition]] = {}
        self._by_name: dict[str, dict[int, Partition]] = {}
        self._unusable: set[tuple[bytes, int]] = set()
        self._listeners: list[LeadershipListener] = []
        self._begun = False

    # --- looking up --------------------------------------------------------------------------------------------

    def find(self, topic_id: bytes, index: int) -> Partition | None:
        """The replica here of that partition, by topic id."""
        partitions = self._by_id.get(topic_id)
        return None if partitions is None else partitions.get(index)

    def find_by_name(self, topic: str, index: int) -> Partition | None:
        """The replica here of that partition, by topic name."""
        partitions = self._by_name.get(topic)
        return None if partitions is None else partitions.get(index)

    def partitions_of(self, topic: str) -> Mapping[int, Partition]:
        """The replicas here of a topic; empty when there are none."""
        return self._by_name.get(topic, _NO_PARTITIONS)

    def partitions_of_id(self, topic_id: bytes) -> Mapping[int, Partition]:
        """The same, by topic id."""
        return self._by_id.get(topic_id, _NO_PARTITIONS)

    def all(self) -> Iterator[Partition]:
        """Every replica here."""
        for partitions in self._by_id.values():
            yield from partitions.values()

    def why_missing(self, topic: str, index: int) -> ErrorCode:
        """Why a partition is not here: elsewhere (NOT_LEADER_OR_FOLLOWER), nowhere, or on a disk that failed."""
        known = self.image.topics.get(topic)
        if known is None or index not in known.partitions:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if (known.id, index) in self._unusable:
            return ErrorCode.KAFKA_STORAGE_ERROR
        return ErrorCode.NOT_LEADER_OR_FOLLOWER

    # --- telling -----------------------------------------------------------------------------------------------

    def settle(self, partition: Partition) -> None:
        """Tell those who wait for `partition` what has moved since the last time. Cheap when nothing has."""
        told, log, isr = partition.settled, partition.log, partition.isr
        appended = log.log_end_offset != told.end
        committed = (
            log.high_watermark != told.high_watermark
            or log.last_stable_offset != told.stable
            or log.log_start_offset != told.start
            or partition.leadership.follower_starts != told.follower_starts
            or isr.maximal is not told.isr
        )
        office = (partition.role, partition.leader_epoch)
        led = office != told.led
        told.end = log.log_end_offset
        told.high_watermark = log.high_watermark
        told.stable = log.last_stable_offset
        told.start = log.log_start_offset
        told.follower_starts = partition.leadership.follower_starts
        told.isr = isr.maximal
        told.led = office
        if isr.proposal is not told.proposal:
            told.proposal = isr.proposal
            if isr.proposal is not None:
                self._propose(isr.proposal)
        if appended or led:
            self.wake(partition.appended)
        if committed or led:
            self.wake(partition.committed)
        for watcher in partition.watchers[:]:
            if appended:
                watcher.on_append(partition)
            if committed:
                watcher.on_commit(partition)
            if led:
                watcher.on_leadership(partition)

    def watch(self, partition: Partition, watcher: PartitionWatcher) -> None:
        """Tell `watcher` whenever the partition moves."""
        partition.watchers.append(watcher)

    def unwatch(self, partition: Partition, watcher: PartitionWatcher) -> None:
        """Undo `watch`; fine where it was not watched."""
        if watcher in partition.watchers:
            partition.watchers.remove(watcher)

    def subscribe(self, listener: LeadershipListener) -> None:
        """Tell `listener` of every election and resignation from now on."""
        self._listeners.append(listener)

    # --- turns -------------------------------------------------------------------------------------------------

    def shrink_isrs(self) -> None:
        """Propose to drop replicas that lag; each half of replica.lag.time.max.ms.

        None lags behind a leader that can't be read: it must not be left as the only one who has everything.
        """
        now = self._clock.monotonic()
        for partition in self.all():
            if partition.is_leader and partition.log.home.error is None:
                partition.leadership.shrink(now)
                self.settle(partition)

    @property
    def isr_turn_s(self) -> float:
        """How often `shrink_isrs` is due."""
        return self._max_lag_s / 2

    # --- metadata ----------------------------------------------------------------------------------------------

    def apply(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Act on committed metadata: create, lead, follow, delete, reconfigure what the delta names."""
        self.image = image
        self.membership.cluster = image.cluster
        if self._begun:
            self._act_on(delta)

    def begin(self) -> None:
        """The metadata has caught up with this broker's registration: act on what it says now, and on what comes."""
        assert not self._begun
        self._begun = True
        self._act_on(difference(EMPTY_IMAGE, self.image))

    def _act_on(self, delta: MetadataDelta) -> None:
        now = self._clock.monotonic()
        if delta.cluster is not None:
            self._followed.brokers_changed(delta.cluster.changed_brokers)
        if delta.topics is not None:
            for topic in delta.topics.deleted.values():
                for index in topic.partitions:
                    self._remove(topic.name, topic.id, index)
            for changed, index, registration in delta.topics.changed_partitions():
                self._apply_partition(changed.name, changed.id, index, registration, now)
        if delta.cluster is not None:
            self._reconsider(delta.cluster.changed_brokers)
        if delta.configs is not None:
            mine = (ConfigResource.broker(None), ConfigResource.broker(self.membership.node_id))
            if any(resource in delta.configs.changed for resource in mine):
                self._reconfigure_all()
            for resource in delta.configs.changed:
                if resource.type == ConfigResourceType.TOPIC:
                    self._reconfigure(resource.name)
        self._followed.drop_idle()

    def directory_failed(self) -> None:
        """A log directory went offline: what lies in it is fetched no more, or leaders would take it for in sync."""
        for partition in self.all():
            if partition.log.home.error is not None:
                self._followed.unfollow(partition)
        self._followed.drop_idle()

    def remove_strays(self) -> int:
        """Delete logs that metadata does not place here. Call it only with metadata that is caught up."""
        strays = [
            log
            for log in self.logs.logs()
            if log.topic != METADATA_TOPIC and (log.topic_id is None or self.find(log.topic_id, log.partition) is None)
        ]
        for log in strays:
            _log.info("deleting the log of %s: metadata places no such replica here", log.topic_partition)
            self.logs.delete(log.topic, log.partition)
        return len(strays)

    def _reconfigure_all(self) -> None:
        """Dynamic configs of brokers changed: topics may have other defaults."""
        configs = self.image.configs
        self._config = self._static.with_dynamic(configs.cluster_defaults, configs.of_broker(self.membership.node_id))
        overrides = configs.of_topic
        self.logs.update_config(self._config, overrides)
        for topic in self._by_name:
            self._set_min_in_sync(topic, overrides(topic))

    def _reconsider(self, broker_ids: Iterable[int]) -> None:
        """Brokers that are fit again may join ISRs of partitions that they have fetched already."""
        active = {broker_id for broker_id in broker_ids if self.membership.cluster.is_active(broker_id)}
        if not active - {self.membership.node_id}:
            return
        now = self._clock.monotonic()
        for partition in self.all():
            if partition.is_leader and not active.isdisjoint(partition.followers):
                partition.leadership.reconsider(now)
                self.settle(partition)

    def _apply_partition(
        self, topic: str, topic_id: bytes, index: int, registration: PartitionRegistration, now: float
    ) -> None:
        me = self.membership.node_id
        if me not in registration.replicas:
            self._remove(topic, topic_id, index, registration.leader_epoch)
            return
        partition = self.find(topic_id, index) or self._create(topic, topic_id, index, registration)
        if partition is None:
            return
        if registration.leader == me:
            self._lead(partition, registration, now)
        else:
            self._follow(partition, registration)
        self.settle(partition)

    def _lead(self, partition: Partition, registration: PartitionRegistration, now: float) -> None:
        self._followed.unfollow(partition)
        if partition.become_leader(registration, now):
            _log.debug("leading %r", partition)
            for listener in self._listeners:
                listener.on_elected(partition)

    def _follow(self, partition: Partition, registration: PartitionRegistration) -> None:
        led = partition.is_leader
        if partition.become_follower(registration):
            _log.debug("following %r", partition)
            if registration.leader == NO_LEADER or partition.log.home.error is not None:
                self._followed.unfollow(partition)
            else:
                self._followed.follow(partition)
            if led:
                self._resigned(partition, registration.leader_epoch)

    def _resigned(self, partition: Partition, leader_epoch: int | None) -> None:
        for listener in self._listeners:
            listener.on_resigned(partition.topic, partition.index, leader_epoch)

    def _create(self, topic: str, topic_id: bytes, index: int, registration: PartitionRegistration) -> Partition | None:
        overrides = self.image.configs.of_topic(topic)
        directory = registration.directory(self.membership.node_id)
        try:
            self._make_room(topic, topic_id, index)
            holds_data = self._holds_data(registration, directory)
            log = self.logs.create(topic, index, topic_id, overrides, directory_id=directory, holds_data=holds_data)
        except (StorageError, OSError) as error:
            _log.error("no replica of %s-%d here: %s", topic, index, error)
            self._unusable.add((topic_id, index))
            if directory in (UNASSIGNED_DIRECTORY, MIGRATING_DIRECTORY, *self.logs.directory_ids()):
                self._note_directory(topic_id, index, LOST_DIRECTORY)
            return None
        self._unusable.discard((topic_id, index))
        if self.logs.directory_of(log) != directory:
            self._note_directory(topic_id, index, self.logs.directory_of(log))
        partition = Partition(
            topic,
            topic_id,
            index,
            log,
            self.membership,
            max_lag_s=self._max_lag_s,
            min_in_sync=self._min_in_sync(overrides),
        )
        self._by_id.setdefault(topic_id, {})[index] = partition
        self._by_name.setdefault(topic, {})[index] = partition
        return partition

    def _holds_data(self, registration: PartitionRegistration, directory: bytes) -> bool:
        """Whether somebody counts on what our replica has: it is in sync, and not just being made."""
        is_new = directory == UNASSIGNED_DIRECTORY and registration.partition_epoch == 0
        return self.membership.node_id in registration.isr and not is_new

    def _make_room(self, topic: str, topic_id: bytes, index: int) -> None:
        """Delete the log of an earlier topic of that name, which was deleted while this broker was away."""
        standing = self.logs.get(topic, index)
        if standing is not None and standing.topic_id not in (None, topic_id):
            _log.info("deleting the log of %s: it belongs to an earlier topic of that name", standing.topic_partition)
            self.logs.delete(topic, index)

    def _remove(self, topic: str, topic_id: bytes, index: int, leader_epoch: int | None = None) -> None:
        partition = self.find(topic_id, index)
        if partition is None:
            if (topic_id, index) in self._unusable:
                self._unusable.remove((topic_id, index))
                self.logs.delete(topic, index)  # a damaged log goes too, or it would be the next topic's of that name
            return
        self._followed.unfollow(partition)
        led = partition.is_leader
        partition.retire()
        if led:
            self._resigned(partition, leader_epoch)
        del self._by_id[topic_id][index]
        if not self._by_id[topic_id]:
            del self._by_id[topic_id]
        del self._by_name[topic][index]
        if not self._by_name[topic]:
            del self._by_name[topic]
        self.settle(partition)
        self.logs.delete(topic, index)

    def _reconfigure(self, topic: str) -> None:
        if topic not in self._by_name:
            return
        overrides = self.image.configs.of_topic(topic)
        self.logs.update_topic_config(topic, overrides)
        self._set_min_in_sync(topic, overrides)

    def _set_min_in_sync(self, topic: str, overrides: Mapping[str, str]) -> None:
        min_in_sync = self._min_in_sync(overrides)
        now = self._clock.monotonic()
        for partition in self.partitions_of(topic).values():
            partition.set_min_in_sync(min_in_sync, now)
            self.settle(partition)

    def _min_in_sync(self, overrides: Mapping[str, str]) -> int:
        value = overrides.get(MIN_INSYNC_REPLICAS)
        return self._config.int(MIN_INSYNC_REPLICAS) if value is None else int(value)
