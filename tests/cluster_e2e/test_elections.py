"""Preferred leaders get their partitions back when they are asked for."""

from __future__ import annotations

from blumfeld.testing import Cluster
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import (
    assert_exact,
    elect_preferred_leaders,
    leader,
    put_leader_on,
    wait_for_isr,
    wait_until,
)


def test_leadership_goes_back_to_the_preferred_leader_on_request(cluster: Cluster) -> None:
    topic = put_leader_on(cluster, 2)
    wait_for_isr(cluster, topic)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        producer.wait_for_acks(20)
        cluster.brokers[2].kill()
        wait_until(lambda: leader(cluster, topic) != 2, "another broker leads")
        cluster.brokers[2].restart()
        wait_for_isr(cluster, topic)
        assert leader(cluster, topic) != 2  # not by itself: that is due every leader.imbalance.check.interval.seconds
        assert elect_preferred_leaders(cluster) >= 1
        wait_until(lambda: leader(cluster, topic) == 2, "the preferred leader leads again")
        producer.wait_for_acks(50)
    assert_exact(cluster, topic, producer)
