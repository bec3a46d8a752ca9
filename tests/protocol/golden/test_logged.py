"""Records that Apache Kafka wrote into its internal logs are read, and written again they are the same bytes."""

from __future__ import annotations

import pytest

from blumfeld.protocol.messages import control_records, offsets_log, transactions_log
from blumfeld.protocol.messages.coordinator_log import RecordTypes, encode_key, encode_value, encode_versioned
from blumfeld.protocol.messages.metadata_log import decode_versioned_metadata_record, encode_metadata_record
from blumfeld.protocol.records import ControlType
from blumfeld.protocol.schema import Data
from tests.protocol.golden.logged import METADATA, OFFSETS, TRANSACTIONS, Logged, logged

RECORD_TYPES: dict[str, RecordTypes] = {
    OFFSETS: offsets_log.RECORD_TYPES,
    TRANSACTIONS: transactions_log.RECORD_TYPES,
}

CONTROL_RECORDS: dict[ControlType, type[Data]] = {
    ControlType.LEADER_CHANGE: control_records.LeaderChangeMessage,
    ControlType.SNAPSHOT_HEADER: control_records.SnapshotHeaderRecord,
    ControlType.SNAPSHOT_FOOTER: control_records.SnapshotFooterRecord,
    ControlType.KRAFT_VERSION: control_records.KRaftVersionRecord,
    ControlType.KRAFT_VOTERS: control_records.VotersRecord,
}


def records(*logs: str, control: bool = False) -> pytest.MarkDecorator:
    chosen = [record for record in logged() if record.log in logs and record.control is control]
    assert chosen
    return pytest.mark.parametrize(
        "record", chosen, ids=lambda record: f"{record.log}-{(record.value or b'')[:8].hex()}"
    )


@records(METADATA)
def test_a_metadata_record_is_read_and_written_again_the_same(record: Logged) -> None:
    assert record.key is None
    assert record.value is not None
    message, version = decode_versioned_metadata_record(record.value)
    assert encode_metadata_record(message, version) == record.value


@records(OFFSETS, TRANSACTIONS)
def test_a_coordinators_record_is_read_and_written_again_the_same(record: Logged) -> None:
    assert record.key is not None
    types = RECORD_TYPES[record.log]
    key = types.decode_key(record.key)
    assert key is not None
    assert encode_key(key) == record.key
    if record.value is not None:
        value = types.decode_value(key, record.value)
        assert encode_value(value, int.from_bytes(record.value[:2], "big")) == record.value


@records(METADATA, control=True)
def test_a_raft_control_record_is_read_and_written_again_the_same(record: Logged) -> None:
    assert record.key is not None
    assert record.value is not None
    declaration = CONTROL_RECORDS[ControlType(int.from_bytes(record.key[2:], "big"))]
    message = declaration.decode(record.value, 0)
    assert message.encode(0) == record.value


@records(OFFSETS, control=True)
def test_a_transaction_marker_is_read_and_written_again_the_same(record: Logged) -> None:
    assert record.value is not None
    marker = control_records.EndTxnMarker.decode(record.value[2:], 0)
    assert encode_versioned(marker, 0) == record.value
