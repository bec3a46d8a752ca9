"""Brokers in the eyes of the controller: registration, heartbeats, fencing, shutdown, unregistration."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.metadata_log import (
    BrokerRegistrationChangeRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
)
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest
from tests.cluster.controller.story import Controller, uuid


@pytest.fixture
def controller() -> Controller:
    return Controller()


# Registration


def test_a_brokers_epoch_is_the_offset_of_its_registration(controller: Controller) -> None:
    offset = controller.offset
    response = controller.register(1)
    assert (response.error_code, response.broker_epoch) == (ErrorCode.NONE, offset)
    broker = controller.image.cluster.brokers[1]
    assert (broker.epoch, broker.fenced, broker.directories) == (offset, True, (uuid(1001),))
    assert broker.listeners["PLAINTEXT"].port == 9001
    assert broker.features["metadata.version"] == (7, 30)


def test_another_incarnation_is_kept_out_while_the_session_lives_and_let_in_afterwards(controller: Controller) -> None:
    controller.with_brokers(1)
    assert controller.register(1, incarnation=uuid(77)).error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    controller.pass_time(9.1)
    assert controller.is_fenced(1)
    offset = controller.offset
    response = controller.register(1, incarnation=uuid(77))
    assert (response.error_code, response.broker_epoch) == (ErrorCode.NONE, offset)
    assert controller.image.cluster.brokers[1].incarnation_id == uuid(77)


def test_the_same_incarnation_amends_its_registration_and_keeps_epoch_and_state(controller: Controller) -> None:
    controller.with_brokers(1)
    epoch = controller.epoch_of(1)
    response = controller.register(1, rack="cellar")
    assert response.broker_epoch == epoch
    broker = controller.image.cluster.brokers[1]
    assert (broker.epoch, broker.fenced, broker.rack) == (epoch, False, "cellar")


def test_a_new_incarnation_loses_leadership_and_is_registered_by_the_last_record(controller: Controller) -> None:
    controller.with_brokers(1, 2).with_topic("orders", assignments=[[1, 2], [2, 1]])
    controller.sessions.remove(1)
    offset = controller.offset
    response = controller.register(1, incarnation=uuid(77))
    kinds = [type(record) for record in controller.written]
    assert kinds == [PartitionChangeRecord, PartitionChangeRecord, RegisterBrokerRecord]
    assert response.broker_epoch == offset + 2 == controller.image.cluster.brokers[1].epoch
    assert [controller.partition("orders", n).isr for n in (0, 1)] == [(2,), (2,)]
    assert [controller.partition("orders", n).leader for n in (0, 1)] == [2, 2]


def test_a_restarted_broker_whose_old_process_is_known_to_be_gone_need_not_wait(controller: Controller) -> None:
    controller.with_brokers(1)
    controller.sessions.shorten(1, controller.now)
    assert controller.register(1, incarnation=uuid(77)).error_code == ErrorCode.NONE


def test_a_session_that_nobody_renewed_makes_way_for_a_successor_at_the_same_place(controller: Controller) -> None:
    controller.with_brokers(1)
    controller.sessions.start(controller.image.cluster, controller.now)  # a controller that has not heard of it yet
    elsewhere = controller.register(1, incarnation=uuid(77), log_dirs=[uuid(5)])
    assert elsewhere.error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    assert controller.register(1, incarnation=uuid(77)).error_code == ErrorCode.NONE


def test_a_broker_whose_connection_broke_makes_way_for_a_successor_at_the_same_place(controller: Controller) -> None:
    controller.with_brokers(1)
    controller.sessions.out_of_touch(1)
    controller.pass_time(0.3)
    assert not controller.is_fenced(1)  # a broken connection alone proves nothing
    assert controller.register(1, incarnation=uuid(77)).error_code == ErrorCode.NONE


REFUSED: dict[str, tuple[dict[str, Any], ErrorCode]] = {
    "wrong cluster": ({"cluster_id": "another"}, ErrorCode.INCONSISTENT_CLUSTER_ID),
    "no directory": ({"log_dirs": []}, ErrorCode.INVALID_REGISTRATION),
    "reserved directory": ({"log_dirs": [bytes(15) + b"\x63"]}, ErrorCode.INVALID_REGISTRATION),
    "directory twice": ({"log_dirs": [uuid(5), uuid(5)]}, ErrorCode.INVALID_REGISTRATION),
    "directory of another": ({"log_dirs": [uuid(1001)]}, ErrorCode.INVALID_REGISTRATION),
    "no metadata.version": ({"features": {"group.version": (0, 1)}}, ErrorCode.INVALID_REGISTRATION),
    "too old": ({"features": {"metadata.version": (7, 24)}}, ErrorCode.UNSUPPORTED_VERSION),
    "feature missing": ({"features": {"metadata.version": (7, 25)}}, ErrorCode.UNSUPPORTED_VERSION),
    "from ZooKeeper": ({"is_migrating_zk_broker": True}, ErrorCode.BROKER_ID_NOT_REGISTERED),
}


@pytest.mark.parametrize("case", REFUSED)
def test_registrations_refused(controller: Controller, case: str) -> None:
    changes, code = REFUSED[case]
    both = {"metadata.version": (7, 30), "group.version": (0, 1)}
    controller.with_brokers(1, features=both)
    controller.append([FeatureLevelRecord(name="group.version", feature_level=1)])
    response = controller.register(2, **{"features": both, **changes})
    assert ErrorCode(response.error_code) is code
    assert 2 not in controller.image.cluster.brokers


# Heartbeats


def test_a_broker_is_unfenced_once_it_has_read_its_own_registration(controller: Controller) -> None:
    epoch = controller.register(1).broker_epoch
    behind = controller.heartbeat(1, current_metadata_offset=epoch - 1)
    assert (behind.is_caught_up, behind.is_fenced) == (False, True)
    waiting = controller.heartbeat(1, current_metadata_offset=epoch, want_fence=True)
    assert (waiting.is_caught_up, waiting.is_fenced) == (True, True)
    ready = controller.heartbeat(1, current_metadata_offset=epoch)
    assert (ready.is_caught_up, ready.is_fenced) == (True, False)
    assert controller.image.cluster.is_active(1)


def test_heartbeats_of_brokers_unknown_or_registered_anew_are_stale(controller: Controller) -> None:
    assert controller.heartbeat(1).error_code == ErrorCode.STALE_BROKER_EPOCH
    controller.with_brokers(1)
    response = controller.heartbeat(1, broker_epoch=controller.epoch_of(1) - 1)
    assert (response.error_code, response.is_fenced) == (ErrorCode.STALE_BROKER_EPOCH, True)


def test_an_ordinary_heartbeat_writes_nothing(controller: Controller) -> None:
    controller.with_brokers(1)
    assert not controller.heartbeat(1).is_fenced
    assert controller.written == []


def test_a_silent_broker_is_fenced_after_its_session_and_its_partitions_move(controller: Controller) -> None:
    controller.with_brokers(1, 2, 3).with_topic("orders", assignments=[[1, 2, 3]])
    for _ in range(4):
        controller.pass_time(2)
        for alive in (2, 3):
            controller.heartbeat(alive)
    assert controller.partition("orders").leader == 1
    controller.pass_time(1.1)
    assert controller.is_fenced(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.leader_epoch, partition.isr) == (2, 1, (2, 3))
    assert not controller.is_fenced(2)


def test_positive_evidence_shortens_the_session_to_a_quarter_second(controller: Controller) -> None:
    controller.with_brokers(1, 2)
    assert controller.sessions.shorten(1, controller.now)
    controller.pass_time(0.2)
    assert not controller.is_fenced(1)
    controller.pass_time(0.1)
    assert controller.is_fenced(1)
    assert not controller.is_fenced(2)


def test_evidence_is_void_when_the_broker_is_heard_of_again(controller: Controller) -> None:
    controller.with_brokers(1, 2)
    controller.sessions.shorten(1, controller.now)
    controller.pass_time(0.2)
    controller.heartbeat(1)
    controller.heartbeat(2)
    controller.pass_time(8.9)
    assert not controller.is_fenced(1)


def test_time_in_which_the_controller_stood_still_is_nobodys_silence(controller: Controller) -> None:
    controller.with_brokers(1, 2)
    deadline = controller.sessions.next_deadline()
    assert deadline is not None
    controller.now = deadline + 5.0
    controller.take_turns(deadline)
    assert not any(controller.is_fenced(n) for n in (1, 2))
    controller.heartbeat(1)  # it was sent meanwhile, and is read now
    controller.pass_time(1)
    assert not controller.is_fenced(1)
    assert controller.is_fenced(2)  # silent since, and before the standstill


def test_brokers_that_fall_silent_together_are_fenced_one_after_the_other(controller: Controller) -> None:
    controller.with_brokers(1, 2, 3).with_topic("orders", assignments=[[1, 2, 3]])
    controller.heartbeat(3)
    controller.pass_time(5)
    controller.heartbeat(3)
    controller.pass_time(5)
    assert [controller.is_fenced(n) for n in (1, 2, 3)] == [True, True, False]
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (3, (3,), 2)


def test_a_new_controller_gives_every_unfenced_broker_a_fresh_session_but_its_own(controller: Controller) -> None:
    controller.with_brokers(1, 2, 9)
    controller.fence(2)
    controller.sessions.clear()
    controller.sessions.start(controller.image.cluster, controller.now)
    assert controller.sessions.get(1) is not None
    assert controller.sessions.get(2) is None
    assert controller.sessions.get(9) is None
    assert controller.register(9, incarnation=uuid(77)).error_code == ErrorCode.NONE


# Shutdown


def test_controlled_shutdown_moves_leadership_and_waits_until_the_others_know(controller: Controller) -> None:
    controller.with_brokers(1, 2).with_topic("orders", assignments=[[1, 2], [2, 1]])
    leaving = controller.heartbeat(1, want_shut_down=True)
    assert (leaving.is_fenced, leaving.should_shut_down) == (False, False)
    assert isinstance(controller.written[0], BrokerRegistrationChangeRecord)
    assert controller.image.cluster.brokers[1].in_controlled_shutdown
    assert [controller.partition("orders", n).leader for n in (0, 1)] == [2, 2]
    assert [controller.partition("orders", n).isr for n in (0, 1)] == [(2,), (2,)]
    done_at = controller.offset - 1
    assert not controller.heartbeat(1, want_shut_down=True).should_shut_down
    controller.heartbeat(2, current_metadata_offset=done_at - 1)
    assert not controller.heartbeat(1, want_shut_down=True).should_shut_down
    controller.heartbeat(2, current_metadata_offset=done_at)
    released = controller.heartbeat(1, want_shut_down=True)
    assert (released.should_shut_down, released.is_fenced) == (True, True)
    assert controller.is_fenced(1)


def test_a_broker_that_leads_nothing_may_leave_at_once(controller: Controller) -> None:
    controller.with_brokers(1, 2).with_topic("orders", assignments=[[2, 1]])
    assert controller.heartbeat(1, want_shut_down=True).should_shut_down
    assert controller.partition("orders").isr == (2,)


def test_a_broker_that_took_its_leave_may_come_back_at_once(controller: Controller) -> None:
    controller.with_brokers(1, 2)
    assert controller.heartbeat(1, want_shut_down=True).should_shut_down
    assert controller.register(1, incarnation=uuid(77)).error_code == ErrorCode.NONE


def test_the_only_broker_may_leave_and_its_partitions_wait_for_it(controller: Controller) -> None:
    controller.with_brokers(1).with_topic("orders", 1, 1)
    assert not controller.heartbeat(1, want_shut_down=True).should_shut_down
    assert controller.heartbeat(1, want_shut_down=True).should_shut_down
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (-1, (1,), 1)
    controller.register(1, incarnation=uuid(2))
    controller.unfence(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (1, (1,), 2)


def test_a_fenced_broker_may_leave_at_once(controller: Controller) -> None:
    controller.register(1)
    assert controller.heartbeat(1, want_shut_down=True, want_fence=True).should_shut_down
    assert controller.written == []


def test_a_broker_on_its_way_out_gets_no_replicas(controller: Controller) -> None:
    controller.with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    controller.heartbeat(1, want_shut_down=True)
    assert controller.create("new", 1, 2).error_code == ErrorCode.INVALID_REPLICATION_FACTOR
    assert controller.with_topic("other", 3, 1).partition("other", 2).replicas == (2,)


# Directories


def test_replicas_in_a_directory_that_failed_leave_isr_and_leadership(controller: Controller) -> None:
    controller.register(1, log_dirs=[uuid(11), uuid(12)])
    controller.unfence(1)
    controller.with_brokers(2).with_topic("orders", assignments=[[1, 2], [1, 2]])
    topic_id = controller.topic_id("orders")
    controller.append(
        [
            PartitionChangeRecord(partition_id=n, topic_id=topic_id, directories=[uuid(11 + n), uuid(1002)])
            for n in (0, 1)
        ]
    )
    controller.heartbeat(1, offline_log_dirs=[uuid(12)])
    assert controller.partition("orders", 0).leader == 1
    assert (controller.partition("orders", 1).leader, controller.partition("orders", 1).isr) == (2, (2,))
    assert controller.image.cluster.brokers[1].directories == (uuid(11),)
    controller.heartbeat(1, offline_log_dirs=[uuid(12)])
    assert controller.written == []


def test_a_broker_that_comes_back_with_a_failed_directory_leads_nothing_in_it(controller: Controller) -> None:
    controller.register(1, log_dirs=[uuid(11), uuid(12)])
    controller.unfence(1)
    controller.with_brokers(2).with_topic("orders", assignments=[[1, 2], [1, 2]])
    topic_id = controller.topic_id("orders")
    controller.append(
        [
            PartitionChangeRecord(partition_id=n, topic_id=topic_id, directories=[uuid(11 + n), uuid(1002)])
            for n in (0, 1)
        ]
    )
    for broker_id in (2, 1):
        controller.fence(broker_id)
    assert [controller.partition("orders", n).isr for n in (0, 1)] == [(1,), (1,)]
    controller.heartbeat(1, offline_log_dirs=[uuid(12)])
    assert [controller.partition("orders", n).leader for n in (0, 1)] == [1, -1]


# Unregistration


def test_an_unregistered_broker_is_forgotten_and_leaves_every_isr(controller: Controller) -> None:
    controller.with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    controller.fence(1)
    response = controller.send(UnregisterBrokerRequest(broker_id=1))
    assert response.error_code == ErrorCode.NONE
    assert isinstance(controller.written[-1], UnregisterBrokerRecord)
    assert 1 not in controller.image.cluster.brokers
    assert controller.partition("orders").isr == (2,)
    response = controller.send(UnregisterBrokerRequest(broker_id=1))
    assert response.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED
    assert response.error_message == "Broker ID 1 is not currently registered"
