"""Brokers and controllers as the metadata log tells them.

Owns the registrations and their delta. Must never know of sessions or heartbeats: those are the active controller's
own, never written down. Invariant: a broker's epoch is the offset of its RegisterBrokerRecord, so it never goes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from blumfeld.cluster.image.directories import LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from blumfeld.protocol.messages.metadata_log import (
    BrokerRegistrationChangeRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
)
from blumfeld.protocol.schema import Record

_Node = TypeVar("_Node")


class Endpoint(NamedTuple):
    """Where a node listens. `security_protocol`: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL."""

    name: str
    host: str
    port: int
    security_protocol: int = 0


class VersionRange(NamedTuple):
    """Feature levels a node supports, both ends included."""

    low: int
    high: int

    def __contains__(self, level: object) -> bool:
        return isinstance(level, int) and self.low <= level <= self.high


class BrokerRegistration(NamedTuple):
    """One broker: endpoints by listener name, supported features by name."""

    id: int
    epoch: int
    incarnation_id: bytes
    listeners: Mapping[str, Endpoint]
    features: Mapping[str, VersionRange]
    rack: str | None = None
    fenced: bool = True
    in_controlled_shutdown: bool = False
    directories: tuple[bytes, ...] = ()

    @property
    def active(self) -> bool:
        """Neither fenced nor shutting down: fit to lead and to join an ISR."""
        return not self.fenced and not self.in_controlled_shutdown

    def has_online_directory(self, directory: bytes) -> bool:
        """Whether a replica said to lie in `directory` is readable there (KIP-858)."""
        if directory in {UNASSIGNED_DIRECTORY, MIGRATING_DIRECTORY}:
            return True
        return directory != LOST_DIRECTORY and (not self.directories or directory in self.directories)

    @classmethod
    def from_record(cls, record: RegisterBrokerRecord) -> BrokerRegistration:
        return cls(
            record.broker_id,
            record.broker_epoch,
            record.incarnation_id,
            {e.name: Endpoint(e.name, e.host, e.port, e.security_protocol) for e in record.end_points},
            {f.name: VersionRange(f.min_supported_version, f.max_supported_version) for f in record.features},
            record.rack,
            record.fenced,
            record.in_controlled_shutdown,
            tuple(record.log_dirs),
        )

    def to_record(self) -> RegisterBrokerRecord:
        return RegisterBrokerRecord(
            broker_id=self.id,
            broker_epoch=self.epoch,
            incarnation_id=self.incarnation_id,
            end_points=[
                RegisterBrokerRecord.Endpoint(
                    name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol
                )
                for e in self.listeners.values()
            ],
            features=[
                RegisterBrokerRecord.Feature(name=name, min_supported_version=r.low, max_supported_version=r.high)
                for name, r in self.features.items()
            ],
            rack=self.rack,
            fenced=self.fenced,
            in_controlled_shutdown=self.in_controlled_shutdown,
            log_dirs=list(self.directories),
        )


class ControllerRegistration(NamedTuple):
    """One controller that announced itself (KIP-919)."""

    id: int
    incarnation_id: bytes
    listeners: Mapping[str, Endpoint]
    features: Mapping[str, VersionRange]
    zk_migration_ready: bool = False

    @classmethod
    def from_record(cls, record: RegisterControllerRecord) -> ControllerRegistration:
        return cls(
            record.controller_id,
            record.incarnation_id,
            {e.name: Endpoint(e.name, e.host, e.port, e.security_protocol) for e in record.end_points},
            {f.name: VersionRange(f.min_supported_version, f.max_supported_version) for f in record.features},
            record.zk_migration_ready,
        )

    def to_record(self) -> RegisterControllerRecord:
        return RegisterControllerRecord(
            controller_id=self.id,
            incarnation_id=self.incarnation_id,
            zk_migration_ready=self.zk_migration_ready,
            end_points=[
                RegisterControllerRecord.Endpoint(
                    name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol
                )
                for e in self.listeners.values()
            ],
            features=[
                RegisterControllerRecord.Feature(name=name, min_supported_version=r.low, max_supported_version=r.high)
                for name, r in self.features.items()
            ],
        )


class ClusterImage(NamedTuple):
    """Every registered broker and controller, by id."""

    brokers: Mapping[int, BrokerRegistration] = {}
    controllers: Mapping[int, ControllerRegistration] = {}

    def broker(self, broker_id: int) -> BrokerRegistration | None:
        return self.brokers.get(broker_id)

    def is_active(self, broker_id: int) -> bool:
        """Registered, unfenced and not shutting down."""
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.active

    def is_alive(self, broker_id: int) -> bool:
        """Registered and unfenced: what clients are shown."""
        broker = self.brokers.get(broker_id)
        return broker is not None and not broker.fenced

    def to_records(self) -> Iterator[Record]:
        for broker in self.brokers.values():
            yield broker.to_record()
        for controller in self.controllers.values():
            yield controller.to_record()


class ClusterDelta:
    """Replays registrations over `image`. `changed_brokers`: an id's new registration, None when it is gone."""

    __slots__ = ("changed_brokers", "changed_controllers", "image")

    def __init__(self, image: ClusterImage) -> None:
        self.image = image
        self.changed_brokers: dict[int, BrokerRegistration | None] = {}
        self.changed_controllers: dict[int, ControllerRegistration | None] = {}

    def broker(self, broker_id: int) -> BrokerRegistration | None:
        if broker_id in self.changed_brokers:
            return self.changed_brokers[broker_id]
        return self.image.brokers.get(broker_id)

    def replay_register_broker(self, record: RegisterBrokerRecord) -> None:
        self.changed_brokers[record.broker_id] = BrokerRegistration.from_record(record)

    def replay_unregister_broker(self, broker_id: int, broker_epoch: int) -> None:
        self._known(broker_id, broker_epoch)
        self.changed_brokers[broker_id] = None

    def replay_fencing(self, broker_id: int, broker_epoch: int, fenced: bool) -> None:
        """FenceBrokerRecord and UnfenceBrokerRecord, which only old logs hold."""
        self.changed_brokers[broker_id] = self._known(broker_id, broker_epoch)._replace(fenced=fenced)

    def replay_registration_change(self, record: BrokerRegistrationChangeRecord) -> None:
        broker = self._known(record.broker_id, record.broker_epoch)
        assert record.fenced in (-1, 0, 1), f"fencing change {record.fenced}"
        if record.fenced:
            broker = broker._replace(fenced=record.fenced == 1)
        if record.in_controlled_shutdown:
            broker = broker._replace(in_controlled_shutdown=True)
        if record.log_dirs:
            broker = broker._replace(directories=tuple(record.log_dirs))
        self.changed_brokers[broker.id] = broker

    def replay_register_controller(self, record: RegisterControllerRecord) -> None:
        self.changed_controllers[record.controller_id] = ControllerRegistration.from_record(record)

    def replay_unregister_controller(self, controller_id: int) -> None:
        self.changed_controllers[controller_id] = None

    def _known(self, broker_id: int, broker_epoch: int) -> BrokerRegistration:
        broker = self.broker(broker_id)
        assert broker is not None, f"broker {broker_id} is changed but not registered"
        assert broker.epoch == broker_epoch, f"broker {broker_id}: epoch {broker_epoch}, registered {broker.epoch}"
        return broker

    def apply(self) -> ClusterImage:
        return ClusterImage(
            _merged(self.image.brokers, self.changed_brokers),
            _merged(self.image.controllers, self.changed_controllers),
        )


def _merged(base: Mapping[int, _Node], changes: Mapping[int, _Node | None]) -> Mapping[int, _Node]:
    if not changes:
        return base
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
