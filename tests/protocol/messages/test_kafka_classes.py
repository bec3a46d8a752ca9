"""Every message and version, against Apache Kafka's own classes: the same bytes, the same names, the same values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.java import require_java
from tests.protocol.messages.catalogue import Versioned, all_versions
from tests.protocol.messages.conftest import sized
from tests.protocol.messages.oracles import Kafka, disagreements
from tests.protocol.messages.strategies import messages
from tests.protocol.messages.test_definitions import NEWER_THAN_THE_JARS

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    kafka = Kafka(require_java())
    yield kafka
    kafka.close()


@pytest.mark.parametrize("subject", all_versions(), ids=str)
def test_kafka_reads_what_we_write_and_writes_the_same(kafka: Kafka, subject: Versioned) -> None:
    @sized
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        message = data.draw(messages(subject))
        encoded = message.encode(subject.version)
        answer = kafka.ask(subject, encoded)
        if answer is None:
            assert str(subject) in NEWER_THAN_THE_JARS
            return
        assert answer.data == encoded
        assert disagreements(message, subject.version, answer.fields) == []

    agree()
