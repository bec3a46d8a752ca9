"""The clients, and one broker process with a data directory for the stories of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blumfeld.testing import Cluster
from tests.interop.clients.all import CLIENTS
from tests.interop.clients.face import PATIENCE_S, Client

UNHURRIED = {"group.initial.rebalance.delay.ms": "500"}
"""A lone member of kafka-python that joins before it has its topic's metadata assigns nothing and never looks again; on
a busy machine the profile's 150 ms may pass before it has."""


@pytest.fixture(scope="session")
def durable_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker process that keeps its data on disk."""
    with Cluster(data=tmp_path_factory.mktemp("durable"), timeout_s=PATIENCE_S, config=UNHURRIED) as cluster:
        yield cluster


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.name)
def client(request: pytest.FixtureRequest, durable_broker: Cluster) -> Client:
    """One foreign client, connected to a real broker process."""
    kind: type[Client] = request.param
    return kind(durable_broker.bootstrap_servers)
