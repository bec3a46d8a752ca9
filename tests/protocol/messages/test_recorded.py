"""Bytes recorded from Apache Kafka's classes are read as Kafka reads them, and written the same."""

from __future__ import annotations

import pytest

from tests.protocol.messages.oracles import disagreements
from tests.protocol.messages.recordings import Recording, recordings


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: f"{recording.subject}-{recording.release}")
def test_what_kafka_wrote_is_read_as_kafka_reads_it_and_written_the_same(recording: Recording) -> None:
    declaration, version = recording.subject
    message = declaration.decode(recording.data, version)
    assert disagreements(message, version, recording.fields) == []
    assert message.encode(version) == recording.data
