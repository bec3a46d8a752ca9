"""The whole cluster goes and comes back: by kill -9, by SIGTERM; quickly, and with all that was acknowledged."""

from __future__ import annotations

import signal
import time

import pytest

from blumfeld.testing import Cluster
from tests.cluster_e2e.steady import SteadyProducer
from tests.cluster_e2e.story import assert_exact, wait_for_isr

PATIENCE_S = 20.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "stop"])
def test_the_whole_cluster_restarts(cluster: Cluster, number: signal.Signals) -> None:
    topic = cluster.kafka.topic(partitions=1)
    cluster.kafka.produce(cluster.kafka.topic(partitions=3), *[b"x"] * 10)
    with SteadyProducer(cluster.bootstrap_servers, topic) as producer:
        for _ in range(2):
            producer.wait_for_acks(50)
            started = time.monotonic()
            for broker in cluster.brokers.values():
                broker.process.signal(number)
            codes = [broker.process.wait(60) for broker in cluster.brokers.values()]
            assert codes == [0 if number == signal.SIGTERM else -number] * 3
            assert time.monotonic() - started < PATIENCE_S
            started = time.monotonic()
            for broker in cluster.brokers.values():
                broker.start()
            for broker in cluster.brokers.values():
                broker.wait_ready()
            wait_for_isr(cluster, topic)
            assert time.monotonic() - started < PATIENCE_S
            print(f"up again after {time.monotonic() - started:.2f} s")
        producer.wait_for_acks(50)
    assert_exact(cluster, topic, producer)
