"""One broker for all commands of a module."""

from __future__ import annotations

import pytest

from blumfeld.testing import Cluster
from tests.cli.shell import Shell


@pytest.fixture
def shell(kafka_broker: Cluster) -> Shell:
    return Shell(kafka_broker)
