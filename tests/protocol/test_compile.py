"""The compiler against the plain rules: any declaration, any version, any bytes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Bytes, Int8, Int16, Int32, Int64, Records, String, Uuid
from blumfeld.protocol.schema import Data, Message, Struct, UnsupportedFieldError, field
from tests.protocol import reference
from tests.protocol.strategies import messages

MANY = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@MANY
@given(messages())
def test_any_message_is_written_as_the_rules_say_and_read_back(made: tuple[Message, int]) -> None:
    message, version = made
    encoded = message.encode(version)
    assert encoded == reference.encode(message, version)
    decoded = type(message).decode(encoded, version)
    assert decoded == message
    assert decoded.encode(version) == encoded


@MANY
@given(messages(), st.sampled_from([bytes, bytearray, memoryview]))
def test_any_buffer_is_read_alike(made: tuple[Message, int], kind: type) -> None:
    message, version = made
    assert type(message).decode(kind(message.encode(version)), version) == message


@MANY
@given(messages(), st.data())
def test_every_prefix_and_every_longer_frame_is_a_protocol_error(
    made: tuple[Message, int], data: st.DataObject
) -> None:
    message, version = made
    encoded = message.encode(version)
    cut = data.draw(st.integers(0, max(0, len(encoded) - 1)))
    if encoded:
        with pytest.raises(ProtocolError):
            type(message).decode(encoded[:cut], version)
    with pytest.raises(ProtocolError):
        type(message).decode(encoded + b"\0", version)


@MANY
@given(messages(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes_are_a_message_or_a_protocol_error(
    made: tuple[Message, int], damages: list[tuple[int, int]]
) -> None:
    message, version = made
    damaged = bytearray(message.encode(version))
    for position, value in damages:
        if damaged:
            damaged[position % len(damaged)] = value
    try:
        decoded = type(message).decode(bytes(damaged), version)
    except ProtocolError:
        return
    decoded.encode(version)


class Everything(Data, versions="0-3", flexible="2+"):
    flag: Bool
    small: Int8
    numbers: Array[Int32]
    names: Array[String]
    blob: Bytes
    records: Records | None = None
    note: String | None = field(versions="1+", nullable="2+", default="")
    ids: Array[Uuid] = field(versions="2+", default=[])
    hint: Hint = field(versions="2+", tag=0, default_factory=lambda: Everything.Hint())
    added: Int64 = field(versions="3+", default=-1)
    cache: Int16 = field(versions="3+", default=7, ignorable=True)

    class Hint(Struct):
        leader_id: Int32 = -1
        leader_epoch: Int32 = -1


def test_adjacent_fields_and_lengths_in_the_bytes_of_the_protocol_guide() -> None:
    message = Everything(flag=True, small=-2, numbers=[1, 2], names=["ab"], blob=b"xyz")
    assert message.encode(0) == bytes.fromhex(
        "01 fe 00000002 00000001 00000002 00000001 0002 6162 00000003 78797a ffffffff"
    )
    assert message.encode(2) == bytes.fromhex("01 fe 03 00000001 00000002 02 03 6162 04 78797a 00 01 01 00")


def test_a_tagged_field_is_left_out_with_its_default_and_written_otherwise() -> None:
    plain = Everything(flag=False, small=0, numbers=[], names=[], blob=b"")
    assert plain.encode(2).endswith(b"\0")
    hinted = Everything(
        flag=False, small=0, numbers=[], names=[], blob=b"", hint=Everything.Hint(leader_id=3, leader_epoch=4)
    )
    assert hinted.encode(2).endswith(bytes.fromhex("01 00 09 00000003 00000004 00"))
    assert Everything.decode(hinted.encode(2), 2).hint.leader_epoch == 4


def test_unknown_tagged_fields_are_kept_and_written_again_in_order() -> None:
    message = Everything(flag=False, small=0, numbers=[], names=[], blob=b"")
    encoded = message.encode(2)[:-1] + bytes.fromhex("03 00 09 00000003 00000004 00 05 01 aa 8001 02 bbcc")
    decoded = Everything.decode(encoded, 2)
    assert decoded.unknown_tagged_fields == {5: b"\xaa", 128: b"\xbb\xcc"}
    assert decoded.hint.leader_id == 3
    assert decoded.encode(2) == encoded


def test_a_tagged_field_that_is_not_as_long_as_it_says_is_refused() -> None:
    message = Everything(flag=False, small=0, numbers=[], names=[], blob=b"")
    encoded = message.encode(2)[:-1] + bytes.fromhex("01 00 0a 00000003 00000004 00 00")
    with pytest.raises(ProtocolError, match="tagged field 0 is not 10 bytes long"):
        Everything.decode(encoded, 2)


def test_a_version_without_the_field_refuses_a_value_unless_it_is_ignorable() -> None:
    message = Everything(flag=False, small=0, numbers=[], names=[], blob=b"", added=5)
    with pytest.raises(UnsupportedFieldError, match="Everything v2 has no field added, which is 5"):
        message.encode(2)
    assert Everything.decode(message.encode(3), 3).added == 5
    message = Everything(flag=False, small=0, numbers=[], names=[], blob=b"", cache=5)
    assert Everything.decode(message.encode(2), 2).cache == 7


def test_an_absent_field_has_its_default_and_lists_are_fresh() -> None:
    encoded = Everything(flag=False, small=0, numbers=[], names=[], blob=b"").encode(0)
    one, other = Everything.decode(encoded, 0), Everything.decode(encoded, 0)
    assert (one.note, one.ids, one.added, one.cache) == ("", [], -1, 7)
    assert one.ids is not other.ids


def test_a_null_is_refused_where_the_version_has_none() -> None:
    message = Everything(flag=False, small=0, numbers=[], names=[], blob=b"", note=None)
    with pytest.raises(UnsupportedFieldError):
        message.encode(1)
    assert Everything.decode(message.encode(2), 2).note is None


@pytest.mark.parametrize("version", [-1, 4, 1000])
def test_versions_that_do_not_exist(version: int) -> None:
    with pytest.raises(ProtocolError, match="no version"):
        Everything.decode(b"", version)
    with pytest.raises(UnsupportedFieldError, match="no version"):
        Everything(flag=False, small=0, numbers=[], names=[], blob=b"").encode(version)


@pytest.mark.parametrize(
    "broken",
    [
        {"numbers": [2**31]},
        {"numbers": None},
        {"small": 200},
        {"blob": "text"},
        {"names": [None]},
        {"names": ["n" * 32_768]},
        {"hint": None},
    ],
)
def test_values_that_the_wire_cannot_hold_are_our_bug(broken: dict[str, object]) -> None:
    with pytest.raises(UnsupportedFieldError):
        Everything(**broken).encode(2)  # type: ignore[arg-type]  # wrong on purpose


class Payload(Data, versions="0-1", flexible="1+"):
    name: String
    records: Records | None
    after: Int32


def test_records_are_slices_of_the_input_and_large_ones_parts_of_the_output() -> None:
    records = bytearray(range(256)) * 32
    view = memoryview(records)
    parts = Payload(name="a", records=view, after=7).encode_parts(1)
    assert len(parts) == 3
    assert parts[1] is view
    frame = bytearray(b"".join(parts))
    decoded = Payload.decode(frame, 1)
    assert isinstance(decoded.records, memoryview)
    decoded.records[0] = 99
    assert frame.count(b"\x63\x01\x02\x03") == 1


def test_small_records_are_joined() -> None:
    assert len(Payload(name="a", records=b"x" * 100, after=7).encode_parts(1)) == 1


def test_null_and_empty_records_differ() -> None:
    for version in (0, 1):
        for records in (None, b""):
            encoded = Payload(name="", records=records, after=0).encode(version)
            assert Payload.decode(encoded, version).records == records


class Legacy(Data, versions="0"):
    name: String
    items: Array[Int64]
    blob: Bytes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("ffff", "name is null or has length -1"),
        ("8000", "length -32768"),
        ("0002 c328", "utf-8"),
        ("0000 ffffffff", "items is null or has length -1"),
        ("0000 7fffffff", "items has 2147483647 elements, in 0 bytes"),
        ("0000 00000002 0000000000000001 00000000", "items has 2 elements, in 12 bytes"),
        ("0000 00000000 80000000", "blob is null or has length -2147483648"),
        ("0000 00000000 00000005 aa", "4 bytes are missing"),
        ("0000 00000000 00000000 00", "1 bytes too many"),
        ("00", "Legacy v0"),
    ],
)
def test_what_is_wrong_is_said(data: str, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        Legacy.decode(bytes.fromhex(data), 0)


class Compact(Data, versions="0", flexible="0+"):
    name: String
    items: Array[Item]

    class Item(Struct):
        number: Int8


@pytest.mark.parametrize(
    "data",
    [
        "00",  # a null name
        "8180808010",  # a string of 2³² bytes
        "ffffffffff7f",  # a varint of more than 32 bits
        "80",  # a varint that does not end
        "828002" + "61" * 32_769,  # a string longer than Kafka's strings may be
        "01 ffffffff0f",  # 2³²−2 items
        "01 00",  # null items
        "01 01 ffffffff0f",  # 2³²−1 tagged fields
        "01 01 01 05 ffffffff0f",  # a tagged field of 4 GiB
        "01 01 01 05 02 aa",  # one that is cut off
        "01 02 07 01 00",  # the same inside an item
    ],
)
def test_compact_lengths_are_bounded_too(data: str) -> None:
    with pytest.raises(ProtocolError):
        Compact.decode(bytes.fromhex(data), 0)


def test_common_structs_are_found_in_the_module() -> None:
    class Local(Data, versions="0"):
        first: Shared
        second: Array[Shared]

    message = Local(first=Shared(number=1), second=[Shared(number=2), Shared(number=3)])
    assert message.encode(0) == bytes.fromhex("0001 00000002 0002 0003")
    assert Local.decode(message.encode(0), 0) == message


class Shared(Struct):
    number: Int16


class Marked(Data, versions="0-1", flexible="1+"):
    cursor: Cursor | None = None
    late: Cursor | None = field(versions="1+", tag=3, default=None)

    class Cursor(Struct):
        topic: String
        partition: Int32


def test_nullable_structs_carry_a_marker() -> None:
    cursor = Marked.Cursor(topic="t", partition=3)
    assert Marked().encode(0) == b"\xff"
    assert Marked(cursor=cursor).encode(0) == bytes.fromhex("01 0001 74 00000003")
    assert Marked(late=cursor).encode(1) == bytes.fromhex("ff 01 03 08 01 02 74 00000003 00")
    for version, message in ((0, Marked(cursor=cursor)), (1, Marked(late=cursor)), (1, Marked())):
        assert Marked.decode(message.encode(version), version) == message


class TaggedNull(Data, versions="0", flexible="0+"):
    cursor: Marked.Cursor | None = field(tag=0, default_factory=lambda: Marked.Cursor(topic="", partition=0))


def test_a_tagged_struct_that_is_null_is_marked_by_zero() -> None:
    """Apache Kafka writes ConsumerGroupMemberMetadataValue so; elsewhere its marker of null is -1."""
    assert TaggedNull(cursor=None).encode(0) == bytes.fromhex("01 00 01 00")
    assert TaggedNull.decode(bytes.fromhex("01 00 01 00"), 0).cursor is None
    assert TaggedNull().encode(0) == b"\0"


class OldText(Data, versions="0", flexible="0+"):
    client_id: String | None = field(flexible="none", default=None)
    other: String


def test_a_field_may_stay_plain_in_a_flexible_version() -> None:
    assert OldText(client_id="ab", other="c").encode(0) == bytes.fromhex("0002 6162 02 63 00")
    assert OldText.decode(OldText(other="").encode(0), 0).client_id is None


class Moved(Data, versions="0-2", flexible="1+"):
    a: Int8 = field(tag=1, tagged="2+", default=0)
    b: Int8 = field(tag=0, versions="1+", tagged="1+", default=ZERO_UUID[0])


def test_a_field_may_become_tagged_and_tags_ascend() -> None:
    assert Moved(a=5).encode(0) == b"\x05"
    assert Moved(a=5, b=6).encode(1) == bytes.fromhex("05 01 00 01 06")
    assert Moved(a=5, b=6).encode(2) == bytes.fromhex("02 00 01 06 01 01 05")
