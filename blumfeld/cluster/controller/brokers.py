"""Brokers: registration, heartbeats, fencing, controlled shutdown, unregistration, directories that fail.

Owns the life of a broker as the controller sees it:

    (register) → FENCED ⇄ UNFENCED → CONTROLLED_SHUTDOWN → SHUTDOWN_NOW (fenced again)
                   └────────────────────────────────────────────┘ a fenced broker that wants to stop may do so at once

Invariants
- A broker's epoch is the offset of its registration record (KIP-631); every request of a broker carries it and is
  refused with STALE_BROKER_EPOCH when it is not the present one.
- While one incarnation of a broker is in touch, another is refused (DUPLICATE_BROKER_REGISTRATION). One that is not,
  makes way for a successor that has its addresses and its log directories, which two live processes cannot share.
- A new incarnation loses what the former one led; its registration record is the last of its decision, so that a
  controller that fails in between leaves nothing half done.
- A broker that shuts down is let go once it leads nothing and every active broker has applied that.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.decision import ApiError, Decision, Turn
from blumfeld.cluster.controller.elections import (
    leader_and_isr_updates,
    leads_anything,
    partitions_where,
    updates_with,
    updates_without,
)
from blumfeld.cluster.image.directories import RESERVED_DIRECTORIES
from blumfeld.cluster.image.features import METADATA_VERSION
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from blumfeld.protocol.messages.metadata_log import (
    BrokerRegistrationChangeRecord,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
)
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from blumfeld.protocol.primitives import uuid_to_text

if TYPE_CHECKING:
    from blumfeld.cluster.controller.sessions import BrokerSession
    from blumfeld.cluster.image.cluster import BrokerRegistration
    from blumfeld.protocol.schema import Record


def check_broker_epoch(turn: Turn, broker_id: int, broker_epoch: int) -> ErrorCode:
    """NONE, or STALE_BROKER_EPOCH for a broker that is not registered, or anew since."""
    broker = turn.image.cluster.brokers.get(broker_id)
    fits = broker is not None and broker.epoch == broker_epoch
    return ErrorCode.NONE if fits else ErrorCode.STALE_BROKER_EPOCH


# BrokerRegistration (62)


def register_broker(turn: Turn, request: BrokerRegistrationRequest) -> Decision[BrokerRegistrationResponse]:
    """Admit a broker, or a new incarnation; the same incarnation amends its registration, keeping epoch and state."""
    refusal = _why_not_register(turn, request)
    if refusal is not None:
        return Decision([], BrokerRegistrationResponse(error_code=refusal.code))
    broker_id = request.broker_id
    existing = turn.image.cluster.brokers.get(broker_id)
    records: list[Record] = []
    fenced, in_controlled_shutdown = True, False
    if existing is not None and existing.incarnation_id == request.incarnation_id:
        epoch = existing.epoch
        fenced, in_controlled_shutdown = existing.fenced, existing.in_controlled_shutdown
    else:
        records = updates_without(turn, broker_id)
        epoch = turn.next_offset + len(records)
        turn.sessions.remove(broker_id)
    records.append(
        RegisterBrokerRecord(
            broker_id=broker_id,
            incarnation_id=request.incarnation_id,
            broker_epoch=epoch,
            end_points=[
                RegisterBrokerRecord.Endpoint(
                    name=listener.name,
                    host=listener.host,
                    port=listener.port,
                    security_protocol=listener.security_protocol,
                )
                for listener in request.listeners
            ],
            features=[
                RegisterBrokerRecord.Feature(
                    name=feature.name,
                    min_supported_version=feature.min_supported_version,
                    max_supported_version=feature.max_supported_version,
                )
                for feature in request.features
            ],
            rack=request.rack,
            fenced=fenced,
            in_controlled_shutdown=in_controlled_shutdown,
            log_dirs=list(request.log_dirs),
        )
    )
    return Decision(records, BrokerRegistrationResponse(error_code=ErrorCode.NONE, broker_epoch=epoch), atomic=False)


def _why_not_register(turn: Turn, request: BrokerRegistrationRequest) -> ApiError | None:
    if request.cluster_id != turn.settings.cluster_id:
        return ApiError(
            ErrorCode.INCONSISTENT_CLUSTER_ID,
            f"Expected cluster ID {turn.settings.cluster_id}, but got cluster ID {request.cluster_id}",
        )
    existing = turn.image.cluster.brokers.get(request.broker_id)
    if (
        existing is not None
        and existing.incarnation_id != request.incarnation_id
        and turn.sessions.is_valid(request.broker_id, existing.epoch, turn.now)
        and (turn.sessions.is_in_touch(request.broker_id) or not _is_at_the_place_of(existing, request))
    ):
        return ApiError(
            ErrorCode.DUPLICATE_BROKER_REGISTRATION, "Another broker is registered with that broker id and is alive."
        )
    if request.is_migrating_zk_broker:
        return ApiError(ErrorCode.BROKER_ID_NOT_REGISTERED, "Controller does not support registering ZK brokers.")
    return _why_not_these_directories(turn, request) or _why_not_these_features(turn, request)


def _is_at_the_place_of(existing: BrokerRegistration, request: BrokerRegistrationRequest) -> bool:
    """Whether the asker holds the ports and the locked log directories of the registered incarnation."""
    addresses = {listener.name: (listener.host, listener.port) for listener in request.listeners}
    return (
        addresses == {name: (endpoint.host, endpoint.port) for name, endpoint in existing.listeners.items()}
        and bool(existing.directories)
        and set(existing.directories) == set(request.log_dirs)
    )


def _why_not_these_directories(turn: Turn, request: BrokerRegistrationRequest) -> ApiError | None:
    directories = set(request.log_dirs)
    reason = None
    if not directories:
        reason = "No directories specified in request"
    elif any(int.from_bytes(directory, "big") < RESERVED_DIRECTORIES for directory in directories):
        reason = "Reserved directory ID in request"
    elif len(directories) != len(request.log_dirs):
        reason = "Duplicate directory ID in request"
    else:
        for other in turn.image.cluster.brokers.values():
            shared = directories.intersection(other.directories)
            if shared and other.id != request.broker_id:
                reason = f"Broker {other.id} is already registered with directory {uuid_to_text(shared.pop())}"
    return None if reason is None else ApiError(ErrorCode.INVALID_REGISTRATION, reason)


def _why_not_these_features(turn: Turn, request: BrokerRegistrationRequest) -> ApiError | None:
    ranges = {f.name: (f.min_supported_version, f.max_supported_version) for f in request.features}
    if METADATA_VERSION not in ranges:
        return ApiError(ErrorCode.INVALID_REGISTRATION, f"Request features do not contain '{METADATA_VERSION}'")
    features = turn.image.features
    finalized = dict.fromkeys(ranges, 0) | dict(features.levels) | {METADATA_VERSION: features.metadata_version}
    for name, level in finalized.items():
        low, high = ranges.get(name, (0, 0))
        if not low <= level <= high:
            return ApiError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"Unable to register because the broker does not support finalized version {level} of {name}."
                f" The broker wants a version between {low} and {high}, inclusive.",
            )
    return None


# BrokerHeartbeat (63)


class BrokerState(Enum):
    """A broker as the controller sees it."""

    FENCED = "fenced"
    UNFENCED = "unfenced"
    CONTROLLED_SHUTDOWN = "controlled shutdown"
    SHUTDOWN_NOW = "shutdown now"


def heartbeat(turn: Turn, request: BrokerHeartbeatRequest) -> Decision[BrokerHeartbeatResponse]:
    """Note that the broker is in touch, and move it between its states as it asks and as is safe."""
    stale = check_broker_epoch(turn, request.broker_id, request.broker_epoch)
    if stale:
        return Decision([], BrokerHeartbeatResponse(error_code=stale, should_shut_down=False))
    broker = turn.image.cluster.brokers[request.broker_id]
    session = turn.sessions.touch(broker.id, broker.epoch, turn.now)
    current, following = _next_state(turn, broker, session, request)
    records: list[Record] = []
    if current is not following:
        if following is BrokerState.UNFENCED:
            records.append(_registration_change(broker, fenced=-1))
            records.extend(updates_with(turn, broker.id, request.offline_log_dirs))
        elif following is BrokerState.CONTROLLED_SHUTDOWN:
            if not broker.in_controlled_shutdown:
                records.append(_registration_change(broker, in_controlled_shutdown=1))
            records.extend(updates_without(turn, broker.id))
        elif not broker.fenced:
            records = fencing_records(turn, broker)
    if request.offline_log_dirs:
        records.extend(_directories_offline(turn, broker, request.offline_log_dirs))
    session.metadata_offset = request.current_metadata_offset
    if following is BrokerState.CONTROLLED_SHUTDOWN:
        if not session.is_shutting_down:
            session.controlled_shutdown_offset = turn.next_offset + len(records) - 1
    else:
        session.controlled_shutdown_offset = -1
    if following is BrokerState.SHUTDOWN_NOW:
        turn.sessions.remove(broker.id)  # it has said farewell: whoever comes next under this id is another process
    return Decision(
        records,
        BrokerHeartbeatResponse(
            error_code=ErrorCode.NONE,
            is_caught_up=request.current_metadata_offset >= broker.epoch,
            is_fenced=following in {BrokerState.FENCED, BrokerState.SHUTDOWN_NOW},
            should_shut_down=following is BrokerState.SHUTDOWN_NOW,
        ),
        atomic=False,
    )


def _next_state(
    turn: Turn, broker: BrokerRegistration, session: BrokerSession, request: BrokerHeartbeatRequest
) -> tuple[BrokerState, BrokerState]:
    """(present state, next state)."""
    if broker.fenced:
        present = following = BrokerState.FENCED
        if request.want_shut_down:
            following = BrokerState.SHUTDOWN_NOW
        elif not request.want_fence and request.current_metadata_offset >= broker.epoch:
            following = BrokerState.UNFENCED
    elif session.is_shutting_down:
        present = following = BrokerState.CONTROLLED_SHUTDOWN
        lowest = turn.sessions.lowest_active_offset(turn.image.cluster)
        seen_by_all = lowest is None or session.controlled_shutdown_offset <= lowest
        if seen_by_all and not leads_anything(turn.image, broker.id):
            following = BrokerState.SHUTDOWN_NOW
    else:
        present = following = BrokerState.UNFENCED
        if request.want_fence:
            following = BrokerState.SHUTDOWN_NOW if request.want_shut_down else BrokerState.FENCED
        elif request.want_shut_down:
            leads = leads_anything(turn.image, broker.id)
            following = BrokerState.CONTROLLED_SHUTDOWN if leads else BrokerState.SHUTDOWN_NOW
    return present, following


def _registration_change(
    broker: BrokerRegistration,
    *,
    fenced: int = 0,
    in_controlled_shutdown: int = 0,
    directories: tuple[bytes, ...] = (),
) -> BrokerRegistrationChangeRecord:
    return BrokerRegistrationChangeRecord(
        broker_id=broker.id,
        broker_epoch=broker.epoch,
        fenced=fenced,
        in_controlled_shutdown=in_controlled_shutdown,
        log_dirs=list(directories),
    )


def _directories_offline(turn: Turn, broker: BrokerRegistration, offline: list[bytes]) -> list[Record]:
    """Replicas in directories that failed leave ISR and leadership; the registration keeps what is online (KIP-858)."""
    failed = set(offline).intersection(broker.directories)
    if not failed:
        return []
    affected = partitions_where(turn.image, lambda partition: partition.directory(broker.id) in failed)
    records = leader_and_isr_updates(turn, affected, gone=broker.id)
    online = tuple(directory for directory in broker.directories if directory not in failed)
    records.append(_registration_change(broker, directories=online))
    return records


# Fencing


def fencing_records(turn: Turn, broker: BrokerRegistration) -> list[Record]:
    """Take the broker out of ISRs and leadership, then fence it."""
    return [*updates_without(turn, broker.id), _registration_change(broker, fenced=1)]


def fence_silent_broker(turn: Turn) -> Decision[bool]:
    """Fence the broker that has been silent for longest past its session; True: look again.

    One at a time, so that the next decision sees the effect of this one.
    """
    for broker_id in turn.sessions.expired(turn.now):
        session = turn.sessions.get(broker_id)
        assert session is not None
        turn.sessions.remove(broker_id)
        broker = turn.image.cluster.brokers.get(broker_id)
        if broker is not None and broker.epoch == session.broker_epoch and not broker.fenced:
            return Decision(fencing_records(turn, broker), True, atomic=False)
    return Decision([], False)


# UnregisterBroker (64)


def unregister_broker(turn: Turn, request: UnregisterBrokerRequest) -> Decision[UnregisterBrokerResponse]:
    """Forget a broker for good; it leaves every ISR and leadership, but stays in replica lists until reassigned."""
    broker = turn.image.cluster.brokers.get(request.broker_id)
    if broker is None:
        return Decision(
            [],
            UnregisterBrokerResponse(
                error_code=ErrorCode.BROKER_ID_NOT_REGISTERED,
                error_message=f"Broker ID {request.broker_id} is not currently registered",
            ),
        )
    records = updates_without(turn, broker.id)
    records.append(UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch))
    turn.sessions.remove(broker.id)
    return Decision(records, UnregisterBrokerResponse(error_code=ErrorCode.NONE, error_message=None), atomic=False)
