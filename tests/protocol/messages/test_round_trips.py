"""Every message in every version: read again it is the same, and others' codecs read and write the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blumfeld.protocol.schema import Message, Struct
from tests.protocol.messages.catalogue import Versioned, all_versions
from tests.protocol.messages.conftest import sized
from tests.protocol.messages.oracles import KafkaPython, Kio, Oracle
from tests.protocol.messages.strategies import messages

ORACLES: tuple[Oracle, ...] = (Kio(), KafkaPython())


@pytest.mark.parametrize("subject", all_versions(), ids=str)
def test_a_message_survives_the_wire_and_every_oracle_writes_the_same(subject: Versioned) -> None:
    oracles = [oracle for oracle in ORACLES if oracle.has(subject)]

    @sized
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        message = data.draw(messages(subject))
        encoded = message.encode(subject.version)
        decoded = subject.message.decode(encoded, subject.version)
        assert decoded == message
        assert decoded.encode(subject.version) == encoded
        assert b"".join(decoded.encode_parts(subject.version)) == encoded
        if oracles:
            bare = without_unknown_tags(decoded).encode(subject.version)
            for oracle in oracles:
                assert oracle.read_and_write(subject, bare) == bare, f"for {oracle.name}"

    survives()


def without_unknown_tags(message: Message) -> Message:
    """The message itself, having forgotten tagged fields that only newer peers know: no oracle here keeps them."""
    _forget(message)
    return message


def _forget(value: object) -> None:
    if isinstance(value, list):
        for element in value:
            _forget(element)
    elif isinstance(value, Struct):
        if value.unknown_tagged_fields is not None:
            value.unknown_tagged_fields = None
        for field in type(value).fields:
            _forget(getattr(value, field.name))
