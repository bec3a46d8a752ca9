"""One of three brokers dies, stands still or leaves while an idempotent producer with acks=all goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from blumfeld.protocol.messages.metadata import MetadataRequest
from blumfeld.testing import Cluster
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import (
    active_controller,
    assert_exact,
    leader,
    put_leader_on,
    wait_for_isr,
    wait_until,
)
from tests.raw import Raw

PATIENCE_S = 8.0
"""Less than a session (9 s), whose end nobody is to wait for. Bounds here are for a busy machine; `bench.cluster`
measures."""


def a_leader(cluster: Cluster) -> tuple[int, str]:
    """The leader of a partition that is not the active controller."""
    node = next(n for n in cluster.brokers if n != active_controller(cluster))
    return node, put_leader_on(cluster, node)


def a_leader_and_controller(cluster: Cluster) -> tuple[int, str]:
    node = active_controller(cluster)
    return node, put_leader_on(cluster, node)


def a_controller(cluster: Cluster) -> tuple[int, str]:
    """The active controller, following only."""
    node = active_controller(cluster)
    return node, put_leader_on(cluster, next(n for n in cluster.brokers if n != node))


def a_follower(cluster: Cluster) -> tuple[int, str]:
    """Neither the leader nor the active controller."""
    controller = active_controller(cluster)
    victim, leading = (n for n in cluster.brokers if n != controller)
    return victim, put_leader_on(cluster, leading)


VICTIMS = [a_leader, a_leader_and_controller, a_controller, a_follower]


@pytest.mark.parametrize("choose", VICTIMS)
def test_kill_9_costs_a_moment_and_no_record(cluster: Cluster, choose: Callable[[Cluster], tuple[int, str]]) -> None:
    victim, topic = choose(cluster)
    wait_for_isr(cluster, topic)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        producer.wait_for_acks(50)
        killed = time.monotonic()
        cluster.brokers[victim].kill()
        wait_until(lambda: leader(cluster, topic) != victim, "another broker leads")
        wait_until(lambda: victim not in cluster.kafka.isr(topic), "the dead one is out of the ISR")
        producer.wait_for_acks(50)
        assert producer.longest_gap(killed) < PATIENCE_S
        cluster.brokers[victim].restart()
        wait_for_isr(cluster, topic)
        producer.wait_for_acks(20)
    assert_exact(cluster, topic, producer)


def test_a_dead_leader_is_named_until_clients_have_moved_to_the_new_one(cluster: Cluster) -> None:
    victim, topic = a_leader(cluster)
    wait_for_isr(cluster, topic)
    survivor = next(n for n in cluster.brokers if n != victim)
    request = MetadataRequest(topics=[MetadataRequest.Topic(name=topic)])
    told: list[tuple[bool, bool]] = []
    with Raw(f"{cluster.brokers[survivor].host}:{cluster.brokers[survivor].port}") as raw:

        def names_victim() -> bool:
            response = raw.ask(request, 12)
            told.append(
                (response.topics[0].partitions[0].leader_id == victim, victim in {b.node_id for b in response.brokers})
            )
            return told[-1][1]

        assert names_victim()
        cluster.brokers[victim].kill()
        wait_until(lambda: not names_victim(), "the dead broker is no longer named")
    assert (False, True) in told, "there was a new leader, and the dead one was still named"
    assert (True, False) not in told
    cluster.brokers[victim].restart()
    wait_for_isr(cluster, topic)


@pytest.mark.parametrize("choose", VICTIMS)
def test_a_controlled_shutdown_is_hardly_noticed(
    cluster: Cluster, choose: Callable[[Cluster], tuple[int, str]]
) -> None:
    victim, topic = choose(cluster)
    wait_for_isr(cluster, topic)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        producer.wait_for_acks(50)
        told = time.monotonic()
        assert cluster.brokers[victim].stop() == 0
        stopped_after = time.monotonic() - told
        producer.wait_for_acks(50)
        assert producer.longest_gap(told) < PATIENCE_S / 2
        assert stopped_after < PATIENCE_S
        wait_for_isr(cluster, topic, [n for n in cluster.brokers if n != victim])
        cluster.brokers[victim].restart()
        wait_for_isr(cluster, topic)
        producer.wait_for_acks(20)
    assert_exact(cluster, topic, producer)


@pytest.mark.parametrize("choose", VICTIMS)
def test_a_broker_that_stands_still_for_a_moment_loses_nothing(
    cluster: Cluster, choose: Callable[[Cluster], tuple[int, str]]
) -> None:
    victim, topic = choose(cluster)
    wait_for_isr(cluster, topic)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        producer.wait_for_acks(50)
        cluster.brokers[victim].pause()
        time.sleep(1.0)
        cluster.brokers[victim].resume()
        producer.wait_for_acks(200)
        wait_for_isr(cluster, topic)
        assert active_controller(cluster) in cluster.brokers
    assert_exact(cluster, topic, producer)


def test_a_killed_broker_is_back_in_the_isr_soon(cluster: Cluster) -> None:
    victim, topic = a_leader(cluster)
    for _ in range(3):
        wait_for_isr(cluster, topic)
        cluster.kafka.produce(topic, b"0")
        cluster.brokers[victim].kill()
        started = time.monotonic()
        cluster.brokers[victim].restart()
        wait_for_isr(cluster, topic)
        assert time.monotonic() - started < 2 * PATIENCE_S
