"""The pytest plugin: real brokers as fixtures. Found by itself (entry point `pytest11`); nothing goes in conftest.

Imports nothing heavy until a fixture is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from blumfeld.testing.cluster import Cluster
    from blumfeld.testing.kafka import Kafka


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("blumfeld")
    group.addoption(
        "--kafka",
        default="builtin",
        metavar="builtin|HOST:PORT",
        help="run the tests against brokers of their own, or against a cluster that runs already",
    )


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One broker process for the session (for each worker under xdist)."""
    from blumfeld.testing.cluster import Cluster

    if request.config.getoption("--kafka") != "builtin":
        pytest.skip("needs a broker under the test's control; --kafka names one that is not")
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(request: pytest.FixtureRequest) -> str:
    """host:port of the session's broker, as a plain string."""
    given = str(request.config.getoption("--kafka"))
    if given != "builtin":
        return given
    return str(request.getfixturevalue("kafka_broker").bootstrap_servers)


@pytest.fixture(scope="session")
def _kafka_session(kafka_bootstrap_servers: str) -> Iterator[Kafka]:
    from blumfeld.testing.kafka import Kafka

    with Kafka(kafka_bootstrap_servers) as kafka:
        yield kafka


@pytest.fixture
def kafka(_kafka_session: Kafka) -> Iterator[Kafka]:
    """The session's broker with helpers. Topics made by the test are deleted when it ends."""
    before = set(_kafka_session.topics())
    yield _kafka_session
    from blumfeld.client.errors import RequestFailed

    for name in set(_kafka_session.topics()) - before:
        with contextlib.suppress(RequestFailed):
            _kafka_session.delete_topic(name)


@pytest.fixture
def kafka_topic(kafka: Kafka) -> str:
    """A new topic with one partition and a unique name, deleted at the end."""
    return kafka.topic()


@pytest.fixture
def kafka_group() -> str:
    """A group name that no other test has."""
    from blumfeld.testing.kafka import unique_name

    return unique_name("group")
