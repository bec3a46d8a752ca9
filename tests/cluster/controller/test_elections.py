"""Who leads, after losses and returns, on request and in the periodic turns."""

from __future__ import annotations

from typing import Any

from blumfeld.cluster.controller.refusals import fitted, refusal
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse
from tests.cluster.controller.story import Controller
from tests.cluster.controller.test_alter_configs import set_topic_config

PREFERRED, UNCLEAN = 0, 1


def elect(controller: Controller, kind: int, **partitions: list[int]) -> Any:
    wanted = [
        ElectLeadersRequest.TopicPartitions(topic=topic, partitions=indexes) for topic, indexes in partitions.items()
    ]
    response: ElectLeadersResponse = controller.send(
        ElectLeadersRequest(election_type=kind, topic_partitions=wanted or None)
    )
    return {
        (result.topic, part.partition_id): ErrorCode(part.error_code)
        for result in response.replica_election_results
        for part in result.partition_result
    }


def test_the_first_replica_in_sync_takes_over() -> None:
    controller = Controller().with_brokers(1, 2, 3).with_topic("orders", assignments=[[1, 2, 3]])
    controller.alter_isr("orders", [1, 3])
    controller.fence(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch, partition.partition_epoch) == (3, (3,), 1, 2)


def test_a_follower_that_is_fenced_leaves_the_isr_without_a_new_leader_epoch() -> None:
    controller = Controller().with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    controller.fence(2)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch, partition.partition_epoch) == (1, (1,), 0, 1)


def test_the_last_member_of_the_isr_stays_in_it_and_nobody_leads() -> None:
    controller = Controller().with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    controller.fence(2)
    controller.fence(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (-1, (1,), 1)
    controller.unfence(2)
    assert controller.partition("orders").leader == -1
    controller.unfence(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (1, (1,), 2)


def test_with_unclean_elections_allowed_a_replica_out_of_sync_takes_over_alone_and_recovering() -> None:
    controller = Controller().with_brokers(1, 2)
    controller.with_topic("orders", assignments=[[1, 2]], configs={"unclean.leader.election.enable": "true"})
    controller.fence(2)
    controller.unfence(2)
    controller.fence(1)
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (2, (2,), 1)
    controller.alter_isr("orders", [2], leader_recovery_state=0)
    assert controller.partition("orders").leader_recovery_state == 0


def test_unclean_elections_are_allowed_however_true_is_written() -> None:
    controller = Controller().with_brokers(1, 2)
    controller.with_topic("orders", assignments=[[1, 2]], configs={"unclean.leader.election.enable": " TRUE"})
    controller.fence(2)
    controller.unfence(2)
    controller.fence(1)
    assert controller.partition("orders").leader == 2


def test_the_cluster_may_allow_unclean_elections_and_a_topic_forbid_them() -> None:
    controller = Controller({"unclean.leader.election.enable": "true"}).with_brokers(1, 2)
    controller.with_topic("loose", assignments=[[1, 2]])
    controller.with_topic("strict", assignments=[[1, 2]], configs={"unclean.leader.election.enable": "false"})
    controller.fence(2)
    controller.unfence(2)
    controller.fence(1)
    assert controller.partition("loose").leader == 2
    assert controller.partition("strict").leader == -1


def test_preferred_election_on_request() -> None:
    controller = Controller().with_brokers(1, 2).with_topic("orders", assignments=[[1, 2], [2, 1]])
    controller.fence(1)
    controller.unfence(1)
    assert elect(controller, PREFERRED, orders=[0]) == {("orders", 0): ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE}
    controller.alter_isr("orders", [2, 1], 0)
    assert elect(controller, PREFERRED, orders=[0, 1, 7], nowhere=[0]) == {
        ("orders", 0): ErrorCode.NONE,
        ("orders", 1): ErrorCode.ELECTION_NOT_NEEDED,
        ("orders", 7): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("nowhere", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert controller.partition("orders", 0).leader == 1


def test_election_for_all_partitions_names_only_those_that_needed_one() -> None:
    controller = Controller().with_brokers(1, 2).with_topic("orders", assignments=[[1, 2], [2, 1]])
    controller.fence(1)
    controller.unfence(1)
    controller.alter_isr("orders", [2, 1], 0)
    assert elect(controller, PREFERRED) == {("orders", 0): ErrorCode.NONE}


def test_unclean_election_on_request_is_for_leaderless_partitions() -> None:
    controller = Controller().with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    assert elect(controller, UNCLEAN, orders=[0]) == {("orders", 0): ErrorCode.ELECTION_NOT_NEEDED}
    controller.fence(2)
    controller.fence(1)
    assert elect(controller, UNCLEAN, orders=[0]) == {("orders", 0): ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE}
    controller.unfence(2)
    assert elect(controller, UNCLEAN, orders=[0]) == {("orders", 0): ErrorCode.NONE}
    partition = controller.partition("orders")
    assert (partition.leader, partition.isr, partition.leader_recovery_state) == (2, (2,), 1)


def test_an_unknown_kind_of_election_is_refused() -> None:
    controller = Controller()
    response = controller.send(ElectLeadersRequest(election_type=5, topic_partitions=None))
    assert response.error_code == ErrorCode.INVALID_REQUEST


def test_leadership_goes_back_to_preferred_replicas_after_a_while() -> None:
    controller = Controller(session_timeout_s=1e6).with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]] * 3)
    controller.fence(1)
    controller.unfence(1)
    for index in range(2):
        controller.alter_isr("orders", [2, 1], index)
    controller.pass_time(299)
    assert {controller.partition("orders", n).leader for n in range(3)} == {2}
    controller.pass_time(2)
    assert [controller.partition("orders", n).leader for n in range(3)] == [1, 1, 2]


def test_balancing_goes_on_at_once_where_there_is_more_than_one_turn_may_do() -> None:
    controller = Controller(session_timeout_s=1e6, max_elections_per_turn=2).with_brokers(1, 2)
    controller.with_topic("orders", assignments=[[1, 2]] * 5)
    controller.fence(1)
    controller.unfence(1)
    for index in range(5):
        controller.alter_isr("orders", [2, 1], index)
    controller.pass_time(301)
    assert {controller.partition("orders", n).leader for n in range(5)} == {1}


def test_balancing_can_be_turned_off() -> None:
    controller = Controller({"auto.leader.rebalance.enable": "false"}, session_timeout_s=1e6).with_brokers(1, 2)
    controller.with_topic("orders", assignments=[[1, 2]])
    controller.fence(1)
    controller.unfence(1)
    controller.alter_isr("orders", [2, 1])
    controller.pass_time(1000)
    assert controller.partition("orders").leader == 2


def test_leaderless_partitions_are_looked_at_again_when_unclean_elections_become_allowed() -> None:
    controller = Controller(session_timeout_s=1e6).with_brokers(1, 2).with_topic("orders", assignments=[[1, 2]])
    controller.fence(2)
    controller.fence(1)
    controller.unfence(2)
    set_topic_config(controller, "orders", "unclean.leader.election.enable", "true")
    assert controller.partition("orders").leader == -1
    controller.pass_time(301)
    assert controller.partition("orders").leader == 2


def test_one_node_with_one_broker_has_nothing_to_do_ever() -> None:
    controller = Controller().with_brokers(9).with_topic("orders", 3, 1)
    assert controller.periodic.next_deadline(controller.image) is None


def test_several_nodes_see_offsets_move_on() -> None:
    controller = Controller(session_timeout_s=1e6).with_brokers(1, 2)
    offset = controller.offset
    controller.pass_time(2.2)
    assert controller.offset - offset in {4, 5}


def test_an_election_refused_as_a_whole_is_told_in_version_0_too() -> None:
    wanted = [ElectLeadersRequest.TopicPartitions(topic="orders", partitions=[0, 1])]
    for version in (0, 1, 2):
        whole: Any = refusal(ElectLeadersRequest(topic_partitions=wanted), ErrorCode.NOT_CONTROLLER)
        response = ElectLeadersResponse.decode(fitted(whole, version).encode(version), version)
        assert response.error_code == (ErrorCode.NONE if version == 0 else ErrorCode.NOT_CONTROLLER)
        (result,) = response.replica_election_results
        assert [part.error_code for part in result.partition_result] == [ErrorCode.NOT_CONTROLLER] * 2
