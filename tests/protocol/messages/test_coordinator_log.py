"""How coordinators' records are framed: types before keys, versions before values."""

from __future__ import annotations

from types import ModuleType

import pytest

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.messages import offsets_log, transactions_log
from blumfeld.protocol.messages.consumer_protocol import ConsumerProtocolSubscription
from blumfeld.protocol.messages.coordinator_log import (
    RecordTypes,
    decode_versioned,
    encode_key,
    encode_value,
    encode_versioned,
)
from blumfeld.protocol.messages.offsets_log import GroupMetadataKey, OffsetCommitKey, OffsetCommitValue
from tests.protocol.messages.catalogue import Versioned, declared_in
from tests.protocol.messages.samples import samples

OFFSETS, TRANSACTIONS = offsets_log.RECORD_TYPES, transactions_log.RECORD_TYPES


def test_a_key_has_its_type_in_front_and_a_value_its_version() -> None:
    key = OffsetCommitKey(group="g", topic="t", partition=3)
    assert encode_key(key) == bytes.fromhex("0001") + b"\0\x01g" + b"\0\x01t" + bytes.fromhex("00000003")
    value = OffsetCommitValue(offset=5, leader_epoch=2, metadata="", commit_timestamp=7)
    assert encode_value(value, 3) == bytes.fromhex("0003 0000000000000005 00000002 0000 0000000000000007")


@pytest.mark.parametrize("types", [OFFSETS, TRANSACTIONS])
def test_keys_and_values_come_out_of_their_frames_again(types: RecordTypes) -> None:
    for key_type, value_type in types:
        for key in samples(Versioned(key_type, 0)):
            assert isinstance(key, key_type)
            assert types.decode_key(encode_key(key)) == key
            for version in value_type.VERSIONS.all:
                for value in samples(Versioned(value_type, version)):
                    assert isinstance(value, value_type)
                    assert types.decode_value(key, encode_value(value, version)) == value


@pytest.mark.parametrize("module", [offsets_log, transactions_log], ids=lambda module: module.__name__)
def test_every_record_that_is_declared_has_its_type(module: ModuleType) -> None:
    assert declared_in(module) == [message for pair in module.RECORD_TYPES for message in pair]


def test_a_type_that_we_do_not_know_is_for_skipping() -> None:
    assert OFFSETS.decode_key(bytes.fromhex("000b 0001 67")) is None
    assert TRANSACTIONS.decode_key(bytes.fromhex("0001 0001 67")) is None


def test_a_known_type_that_is_damaged_is_an_error() -> None:
    for data in ("", "00", "0001 0005 67"):
        with pytest.raises(ProtocolError):
            OFFSETS.decode_key(bytes.fromhex(data))
    key = GroupMetadataKey(group="g")
    for data in ("", "0003", "0005 00", "ffff 00"):
        with pytest.raises(ProtocolError):
            OFFSETS.decode_value(key, bytes.fromhex(data))


def test_a_versioned_message_says_its_version() -> None:
    subscription = ConsumerProtocolSubscription(topics=["t"], generation_id=4)
    encoded = encode_versioned(subscription, 2)
    assert encoded[:2] == b"\0\x02"
    assert decode_versioned(ConsumerProtocolSubscription, encoded) == subscription
    with pytest.raises(ProtocolError):
        decode_versioned(ConsumerProtocolSubscription, b"\0\x09" + encoded[2:])
