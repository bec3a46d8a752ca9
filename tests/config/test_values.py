"""Values: parsed from text, checked, written back as Apache Kafka writes them."""

from __future__ import annotations

import pytest

from blumfeld.config.options import BROKER_OPTIONS, TOPIC_OPTIONS
from blumfeld.config.values import (
    Between,
    ConfigError,
    OneOf,
    Option,
    Type,
    Value,
    check,
    format_double,
    format_value,
    index,
    parse,
)


def option(kind: Type, valid: Between | OneOf | None = None) -> Option:
    return Option("some.option", kind, None, "What it does.", valid)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Type.BOOLEAN, "true", True),
        (Type.BOOLEAN, " FALSE ", False),
        (Type.INT, " 42 ", 42),
        (Type.INT, "-2147483648", -(1 << 31)),
        (Type.SHORT, "32767", 32_767),
        (Type.LONG, "9223372036854775807", (1 << 63) - 1),
        (Type.DOUBLE, "0.5", 0.5),
        (Type.DOUBLE, "1.7976931348623157E308", 1.7976931348623157e308),
        (Type.STRING, " text ", "text"),
        (Type.CLASS, "org.example.Class", "org.example.Class"),
        (Type.PASSWORD, " secret ", " secret "),
        (Type.LIST, "a, b ,c", ["a", "b", "c"]),
        (Type.LIST, "", []),
    ],
)
def test_texts_become_values(kind: Type, text: str, value: Value) -> None:
    assert parse(option(kind), text, "test") == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Type.BOOLEAN, "yes"),
        (Type.BOOLEAN, ""),
        (Type.INT, "ten"),
        (Type.INT, "1.5"),
        (Type.INT, "1_000"),
        (Type.INT, "2147483648"),
        (Type.SHORT, "32768"),
        (Type.LONG, "-9223372036854775809"),
        (Type.DOUBLE, "half"),
    ],
)
def test_texts_that_are_no_value_are_refused(kind: Type, text: str) -> None:
    with pytest.raises(ConfigError):
        parse(option(kind), text, "test")


def test_a_refusal_names_property_value_source_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(option(Type.INT, Between(1, 9, -1)), "10", "server.properties")
    error = refusal.value
    assert (error.name, error.value, error.source) == ("some.option", "10", "server.properties")
    assert error.allowed == "a whole number, at least 1 and at most 9, or -1"
    assert str(error) == (
        "some.option: '10' (server.properties) is not allowed; "
        "it must be a whole number, at least 1 and at most 9, or -1"
    )


@pytest.mark.parametrize(
    ("valid", "text", "allowed"),
    [
        (Between(0), "-1", "a whole number, at least 0"),
        (Between(high=5), "6", "a whole number, at most 5"),
        (Between(0, also=-5), "-4", "a whole number, at least 0, or -5"),
    ],
)
def test_ranges(valid: Between, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=allowed):
        parse(option(Type.INT, valid), text, "test")


def test_what_is_no_number_is_in_no_range() -> None:
    with pytest.raises(ConfigError, match="NaN"):
        parse(option(Type.DOUBLE, Between(0, 1)), "nan", "test")


def test_the_edges_of_a_range_are_allowed() -> None:
    for text in ("1", "9", "-1"):
        parse(option(Type.INT, Between(1, 9, -1)), text, "test")


def test_choices_of_texts_and_of_members_of_lists() -> None:
    choices = OneOf(("delete", "compact"))
    assert parse(option(Type.LIST, choices), "compact,delete", "test") == ["compact", "delete"]
    with pytest.raises(ConfigError, match="a comma-separated list, each one of delete, compact"):
        parse(option(Type.LIST, choices), "compact,shred", "test")
    with pytest.raises(ConfigError, match="one of delete, compact"):
        parse(option(Type.STRING, choices), "Delete", "test")
    assert parse(option(Type.STRING, OneOf(("ONE", "TWO"), case_matters=False)), "two", "test") == "two"


def test_a_password_is_never_in_a_message() -> None:
    with pytest.raises(ConfigError) as refusal:
        check(option(Type.PASSWORD, OneOf(("a", "b"))), "hunter2", "test")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.5, "0.5"),
        (1.0, "1.0"),
        (0.0, "0.0"),
        (1e7, "1.0E7"),
        (52_428_800.0, "5.24288E7"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (0.0001, "1.0E-4"),
        (-0.00025, "-2.5E-4"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_doubles_are_written_as_java_does(number: float, text: str) -> None:
    assert format_double(number) == text
    assert float(text) == number


def test_every_default_is_allowed_and_survives_writing_and_parsing() -> None:
    for table in (BROKER_OPTIONS, TOPIC_OPTIONS):
        for row in table.values():
            if row.default is not None:
                text = format_value(row, row.default)
                assert text is not None
                assert parse(row, text, "default") == row.default, row.name


def test_a_property_declared_twice_is_refused() -> None:
    row = option(Type.INT)
    with pytest.raises(AssertionError, match=r"some\.option is declared twice"):
        index([row, row])
