"""How records of the metadata log are framed, and what is refused."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.messages.metadata_log import (
    METADATA_RECORDS,
    FeatureLevelRecord,
    NoOpRecord,
    TopicRecord,
    decode_metadata_record,
    decode_versioned_metadata_record,
    encode_metadata_record,
)
from tests.protocol.messages.catalogue import Versioned, other_messages
from tests.protocol.messages.samples import samples

FEATURE = FeatureLevelRecord(name="metadata.version", feature_level=25)


def test_the_frame_is_its_version_the_type_and_the_records_version() -> None:
    assert encode_metadata_record(FEATURE, 0) == bytes.fromhex("01 0c 00 11") + b"metadata.version" + b"\x00\x19\x00"


def test_every_record_in_every_version_comes_out_of_its_frame_again() -> None:
    for record_type in METADATA_RECORDS.values():
        for version in record_type.VERSIONS.all:
            for record in samples(Versioned(record_type, version)):
                assert isinstance(record, record_type)
                framed = encode_metadata_record(record, version)
                assert decode_metadata_record(framed) == record
                assert decode_versioned_metadata_record(memoryview(framed)) == (record, version)


def test_every_type_that_is_declared_is_in_the_table() -> None:
    declared = [m for m in other_messages() if m.__module__ == TopicRecord.__module__]
    assert sorted(METADATA_RECORDS) == sorted(message.KEY for message in declared)
    assert len(METADATA_RECORDS) == 27


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "cut off"),
        ("01", "cut off"),
        ("02 0c 00", "frame version 2"),
        ("01 06 00 00", "type 6, version 0 is not known"),
        ("01 7f 00 00", "type 127"),
        ("01 14 01 00", "no version 1"),
        ("01 14 00", "NoOpRecord v0"),
        ("01 14 00 00 00", "1 bytes too many"),
    ],
)
def test_what_we_do_not_know_is_never_skipped(value: str, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decode_metadata_record(bytes.fromhex(value))


def test_tagged_fields_of_a_newer_release_are_kept() -> None:
    newer = encode_metadata_record(NoOpRecord(unknown_tagged_fields={7: b"later"}), 0)
    assert encode_metadata_record(decode_metadata_record(newer), 0) == newer
