"""KAFKA_CREATE_TOPICS: topics that are there when the broker is ready."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blumfeld.testing import Cluster, Kafka

TOPICS = "orders:3:1,users:1:1:compact,plain"


def test_topics_are_there_at_the_start_and_kept_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_CREATE_TOPICS", TOPICS)
    for _ in range(2):
        with Cluster(data=tmp_path) as cluster:
            assert cluster.kafka.topics() == ["orders", "plain", "users"]
            assert len(cluster.kafka.leaders("orders")) == 3
            cluster.kafka.produce("orders", b"kept")


def test_every_broker_of_a_cluster_may_be_told() -> None:
    with Cluster(brokers=3, config={"blumfeld.create.topics": "orders:3:3"}) as cluster:
        for broker in cluster.brokers.values():
            with Kafka(f"{broker.host}:{broker.port}") as kafka:
                assert kafka.topics() == ["orders"], f"broker {broker.id} was ready before it knew"
        kafka = cluster.kafka
        kafka.wait_until(lambda: kafka.isr("orders") == [1, 2, 3], "every broker is in sync")
        assert kafka.topics() == ["orders"]


@pytest.mark.parametrize("topics", ["bad/name", "orders:many", "orders:1:1:sometimes"])
def test_a_wrong_list_is_said(topics: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blumfeld", "up", "--port", "0"],
        env={**os.environ, "KAFKA_CREATE_TOPICS": topics},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert topics.split(":")[-1] in done.stderr
    assert "Traceback" not in done.stderr
