"""Each declaration says what Kafka's definition says: names, order, types, versions, tags, defaults, ignorable."""

from __future__ import annotations

import pytest

from blumfeld.protocol.schema import Message
from tests.interop.java import require_java
from tests.protocol.messages.catalogue import Versioned, all_messages, all_versions
from tests.protocol.messages.definitions import Definition, differences, of_jars, of_kafka_python, versions_of

NEWER_THAN_THE_JARS = frozenset(
    {
        "ApiVersionsRequest-v5",
        "ApiVersionsResponse-v5",
        "DeleteGroupsRequest-v3",
        "DeleteGroupsResponse-v3",
        "TxnOffsetCommitRequest-v6",
        "TxnOffsetCommitResponse-v6",
        "UnregisterControllerRecord-v0",
        "UnregisterControllerRequest-v0",
        "UnregisterControllerResponse-v0",
    }
)
"""What Kafka 4.4 brought. The tests' jars are 4.3.1's; bytes recorded from 4.4.0 speak for these."""

messages = pytest.mark.parametrize("message", all_messages(), ids=lambda message: message.__name__)


@pytest.fixture(scope="module")
def definitions_in_jars() -> dict[str, Definition]:
    return of_jars(tuple(require_java()))


@messages
def test_a_declaration_agrees_with_the_definition_that_kafka_python_ships(message: type[Message]) -> None:
    definition = of_kafka_python().get(message.__name__)
    assert definition is None or differences(message, definition) == []


@pytest.mark.java
@messages
def test_a_declaration_agrees_with_the_definition_in_kafkas_jars(
    message: type[Message], definitions_in_jars: dict[str, Definition]
) -> None:
    definition = definitions_in_jars.get(message.__name__)
    assert definition is None or differences(message, definition) == []


@pytest.mark.java
def test_declared_and_defined_are_the_same_versions_but_for_what_came_after_the_jars(
    definitions_in_jars: dict[str, Definition],
) -> None:
    defined = {
        Versioned(message, version)
        for message in all_messages()
        if message.__name__ in definitions_in_jars
        for version in versions_of(definitions_in_jars[message.__name__]).all
    }
    assert defined - set(all_versions()) == set()
    assert {str(subject) for subject in set(all_versions()) - defined} <= NEWER_THAN_THE_JARS
