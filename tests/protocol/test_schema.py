"""What a declaration means before any bytes: slots, defaults, ranges, links between request and response."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from blumfeld.protocol.fields import NO_VERSIONS, VersionRange, parse_versions
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, Array, Bool, Bytes, Float64, Int16, Int32, Records, String, Uuid
from blumfeld.protocol.schema import Data, Record, Request, Response, Struct, StructMeta, field


class LikeRequest(Request, key=ApiKey.METADATA, versions="1-12", flexible="9+"):
    """A request as a message module declares it."""

    topic: String
    retries: Int32 = 5
    inner: Inner
    items: Array[Inner.Deep] | None = None

    class Inner(Struct):
        number: Int16

        class Deep(Struct):
            flag: Bool = True


class LikeResponse(Response, key=ApiKey.METADATA, versions="1-12", flexible="9+"):
    """Its response."""

    error_code: Int16


class LateResponse(Response, key=ApiKey.FETCH, versions="0"):
    """Declared before its request."""


class LateRequest(Request, key=ApiKey.FETCH, versions="0"):
    """Declared after its response."""


class Defaults(Data, versions="0-9", flexible="1+"):
    flag: Bool
    number: Int32
    ratio: Float64
    text: String
    blob: Bytes
    uuid: Uuid
    records: Records
    maybe_records: Records | None
    maybe_text: String | None
    no_text: String | None = None
    items: Array[Int32]
    maybe_items: Array[Int32] | None
    no_items: Array[Int32] | None = None
    inner: LikeRequest.Inner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", VersionRange(3, 3)),
        ("3-13", VersionRange(3, 13)),
        ("9+", VersionRange(9, 32767)),
        ("none", NO_VERSIONS),
    ],
)
def test_version_ranges_in_kafkas_notation(text: str, expected: VersionRange) -> None:
    assert parse_versions(text) == expected


def test_a_version_range_tells_its_members_and_unpacks() -> None:
    low, high = LikeRequest.VERSIONS
    assert (low, high) == (1, 12)
    assert 1 in LikeRequest.VERSIONS
    assert 12 in LikeRequest.VERSIONS
    assert 0 not in LikeRequest.VERSIONS
    assert 13 not in LikeRequest.VERSIONS
    assert list(VersionRange(2, 4).all) == [2, 3, 4]
    assert 0 not in NO_VERSIONS
    assert (str(VersionRange(0, 3)), str(VersionRange(2, 2))) == ("0-3", "2")


def test_a_message_knows_its_key_versions_and_partner() -> None:
    assert LikeRequest.KEY is ApiKey.METADATA
    assert LikeRequest.FLEXIBLE == 9
    assert LikeRequest.RESPONSE is LikeResponse
    assert LateRequest.RESPONSE is LateResponse
    assert LateRequest.FLEXIBLE is None


def test_every_field_has_kafkas_default() -> None:
    made = Defaults()  # type: ignore[call-arg]  # the type checker wants those that are always there
    assert made.flag is False
    assert (made.number, made.ratio, made.text, made.blob) == (0, 0.0, "", b"")
    assert made.uuid == ZERO_UUID
    assert made.records == b""
    assert made.maybe_records is None
    assert made.maybe_text == ""
    assert made.no_text is None
    assert made.items == []
    assert made.maybe_items == []
    assert made.no_items is None
    assert made.inner.number == 0
    assert made.unknown_tagged_fields is None


def test_lists_are_fresh_and_default_structs_are_shared_but_refuse_assignments() -> None:
    one, other = Defaults(), Defaults()  # type: ignore[call-arg]  # as above
    one.items.append(1)
    assert other.items == []
    assert one.inner is other.inner
    with pytest.raises(AttributeError, match="shared default"):
        one.inner.number = 3
    one.inner = LikeRequest.Inner(number=3)
    assert other.inner.number == 0


def test_a_default_struct_equals_one_made_by_hand() -> None:
    assert Defaults().inner == LikeRequest.Inner(number=0)  # type: ignore[call-arg]  # as above
    assert LikeRequest.Inner(number=0) == Defaults().inner  # type: ignore[call-arg]  # as above
    assert isinstance(Defaults().inner, LikeRequest.Inner)  # type: ignore[call-arg]  # as above


def test_instances_have_slots_and_only_the_declared_ones() -> None:
    made: Any = LikeRequest(topic="t", inner=LikeRequest.Inner(number=1))
    with pytest.raises(AttributeError):
        made.tpoic = "x"
    with pytest.raises(TypeError):
        LikeRequest(tpoic="x")  # type: ignore[call-arg]  # a typing error on purpose
    with pytest.raises(TypeError):
        LikeRequest("positional")  # type: ignore[arg-type, call-arg]  # a typing error on purpose


def test_equality_is_by_fields_and_class() -> None:
    one = LikeRequest(topic="t", inner=LikeRequest.Inner(number=1))
    other = LikeRequest(topic="t", inner=LikeRequest.Inner(number=1))
    assert one == other
    other.unknown_tagged_fields = {1: b""}
    assert one != other
    assert one != "t"
    assert LikeRequest.Inner.Deep() != LateRequest()
    with pytest.raises(TypeError):
        hash(one)


def test_the_text_of_a_message_hides_payloads() -> None:
    made = Defaults(  # type: ignore[call-arg]  # as above
        blob=b"b" * 33, records=memoryview(bytes(1000)), text="short"
    )
    assert "blob=<33 bytes>" in repr(made)
    assert "records=<1000 bytes>" in repr(made)
    assert "text='short'" in repr(made)
    assert "unknown_tagged_fields" not in repr(made)
    assert repr(LikeRequest.Inner.Deep()) == "LikeRequest.Inner.Deep(flag=True)"


def test_fields_are_described_in_the_order_of_the_wire() -> None:
    assert [one.name for one in LikeRequest.fields] == ["topic", "retries", "inner", "items"]
    assert LikeRequest.fields[2].type is LikeRequest.Inner
    assert LikeRequest.fields[3].type is LikeRequest.Inner.Deep
    assert LikeRequest.fields[3].is_array


def test_a_record_has_a_type_number_or_none() -> None:
    class TopicLike(Record, key=2, versions="0", flexible="0+"):
        name: String

    class Keyless(Record, versions="0"):
        name: String

    assert TopicLike.KEY == 2
    assert Keyless.KEY is None


@pytest.mark.parametrize(
    ("annotation", "given", "reason"),
    [
        ("Int23", None, "neither a primitive nor a Struct"),
        ("dict[str, int]", None, "no type of a field"),
        ("Array[Array[Int32]]", None, "no type of a field"),
        ("String", field(nullable="1+"), "does not admit None"),
    ],
)
def test_a_wrong_declaration_is_said_at_its_first_use(annotation: str, given: Any, reason: str) -> None:
    namespace: dict[str, Any] = {"__annotations__": {"wrong": annotation}, "__module__": __name__}
    if given is not None:
        namespace["wrong"] = given
    made = StructMeta("Wrong", (Struct,), namespace)
    with pytest.raises(TypeError, match=reason):
        made()


def test_making_a_class_is_cheap() -> None:
    def make() -> float:
        started = time.perf_counter()
        for _ in range(100):
            namespace = {
                "__annotations__": {f"field_{n}": "Array[Int32] | None" for n in range(8)},
                "__module__": __name__,
                "__qualname__": "Cheap",
            }
            StructMeta("Cheap", (Data,), namespace, versions="0-3")
        return (time.perf_counter() - started) / 100

    assert min(make() for _ in range(5)) < 0.000_5


def test_declarations_do_not_pull_in_the_compiler() -> None:
    code = (
        "import sys; import blumfeld.protocol.messages.produce; "
        "print([name for name in ('compile', 'decoders', 'encoders') if 'blumfeld.protocol.' + name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
