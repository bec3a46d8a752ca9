"""One cluster of three broker processes for the stories of a module; each story leaves all three running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blumfeld.testing import Cluster

CONFIG = {"min.insync.replicas": "2"}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Cluster]:
    with Cluster(brokers=3, config=CONFIG, timeout_s=PATIENCE_S) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The module's cluster, with every broker up again after the story."""
    yield _cluster
    for broker in _cluster.brokers.values():
        broker.resume()
        if not broker.is_running:
            broker.restart()
    if request.session.testsfailed:
        for broker in _cluster.brokers.values():
            print(f"--- broker {broker.id}\n{broker.logs}")
