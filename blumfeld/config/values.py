"""Values of options: their types, what is allowed, parsing from text and back.

Owns the `Option` row type and `ConfigError`. Knows no particular option. Invariant: `parse(option,
format_value(option, v), …) == v` for every valid value; a default is valid or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

Value: TypeAlias = bool | int | float | str | list[str] | None


class Type(IntEnum):
    """A value's type; the numbers are DescribeConfigs' (KIP-569)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Dynamic(IntEnum):
    """Whether a broker option can be altered while the broker runs, and for whom."""

    READ_ONLY = 0
    PER_BROKER = 1
    CLUSTER_WIDE = 2


class Between(NamedTuple):
    """A closed range of numbers; None is open."""

    low: float | None = None
    high: float | None = None
    also: float | None = None
    """One more allowed number outside the range."""

    def __str__(self) -> str:
        low = "" if self.low is None else f"at least {_plain(self.low)}"
        high = "" if self.high is None else f"at most {_plain(self.high)}"
        text = " and ".join(part for part in (low, high) if part)
        return text if self.also is None else f"{text}, or {_plain(self.also)}"

    def allows(self, number: float) -> bool:
        if self.also is not None and number == self.also:
            return True
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)


class OneOf(NamedTuple):
    """A set of allowed texts; of a list, what its members may be."""

    choices: tuple[str, ...]
    case_matters: bool = True

    def __str__(self) -> str:
        return "one of " + ", ".join(self.choices)

    def allows(self, text: str) -> bool:
        if self.case_matters:
            return text in self.choices
        return text.lower() in {choice.lower() for choice in self.choices}


class Option(NamedTuple):
    """One property: a row of the table.

    `valid`: what is allowed beyond the type. `dynamic`: whether and for whom a running broker's value can be
    altered. `effect`: False where the property is known, checked and described, but nothing here depends on
    it. `synonyms`, of a topic property: the broker properties that give its default, first set wins, each
    with the factor of its unit.
    """

    name: str
    type: Type
    default: Value
    text: str
    valid: Between | OneOf | None = None
    dynamic: Dynamic = Dynamic.READ_ONLY
    effect: bool = True
    synonyms: tuple[tuple[str, int], ...] = ()

    @property
    def sensitive(self) -> bool:
        """Whether the value must never be shown."""
        return self.type is Type.PASSWORD

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        kind = _KINDS[self.type]
        if self.valid is None:
            return kind
        if isinstance(self.valid, OneOf):
            return f"a comma-separated list, each {self.valid}" if self.type is Type.LIST else str(self.valid)
        return f"{kind}, {self.valid}"


class ConfigError(ValueError):
    """A property has a value that cannot be.

    `name`, `value`, `source` and `allowed` are what the message is made of.
    """

    def __init__(self, name: str, value: str | None, source: str, allowed: str) -> None:
        self.name = name
        self.value = value
        self.source = source
        self.allowed = allowed
        shown = "no value" if value is None else f"{value!r}"
        super().__init__(f"{name}: {shown} ({source}) is not allowed; it must be {allowed}")


_KINDS = {
    Type.BOOLEAN: "true or false",
    Type.STRING: "a text",
    Type.INT: "a whole number",
    Type.SHORT: "a whole number",
    Type.LONG: "a whole number",
    Type.DOUBLE: "a number",
    Type.LIST: "a comma-separated list",
    Type.CLASS: "a class name",
    Type.PASSWORD: "a password",
}
_BITS = {Type.SHORT: 15, Type.INT: 31, Type.LONG: 63}
_BOOLEANS = {"true": True, "false": False}


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def parse(option: Option, text: str, source: str) -> Value:
    """The value that `text` stands for; raises ConfigError naming `source` where it is not allowed."""
    stripped = text.strip()
    value: Value
    match option.type:
        case Type.BOOLEAN:
            value = _BOOLEANS.get(stripped.lower())
            if value is None:
                raise _refusal(option, text, source)
        case Type.INT | Type.SHORT | Type.LONG:
            value = _parse_integer(option, stripped, source)
        case Type.DOUBLE:
            try:
                value = float(stripped)
            except ValueError:
                raise _refusal(option, text, source) from None
        case Type.LIST:
            value = split_list(stripped)
        case Type.PASSWORD:
            value = text
        case _:
            value = stripped
    check(option, value, source)
    return value


def _parse_integer(option: Option, text: str, source: str) -> int:
    try:
        value = int(text, 10)
    except ValueError:
        raise _refusal(option, text, source) from None
    limit = 1 << _BITS[option.type]
    if not -limit <= value < limit or "_" in text:
        raise _refusal(option, text, source)
    return value


def check(option: Option, value: Value, source: str) -> None:
    """Raise ConfigError where a value of the right type is not among those allowed."""
    valid = option.valid
    if valid is None or value is None:
        return
    if isinstance(valid, OneOf):
        texts = value if isinstance(value, list) else [str(value)]
        if all(valid.allows(text) for text in texts):
            return
    elif isinstance(value, int | float) and valid.allows(value):
        return
    raise _refusal(option, format_value(option, value), source)


def _refusal(option: Option, text: str | None, source: str) -> ConfigError:
    shown = "[hidden]" if option.sensitive else text
    return ConfigError(option.name, shown, source, option.allowed)


def split_list(text: str) -> list[str]:
    """The members of a comma-separated list; none of an empty text."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def format_value(option: Option, value: Value) -> str | None:
    """A value as Apache Kafka writes it in properties and in DescribeConfigs; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    if option.type is Type.DOUBLE:
        return format_double(float(value))
    return str(value)


_NO_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def format_double(number: float) -> str:
    """A double as Java writes it: `0.5`, `1.0`, `1.7976931348623157E308`."""
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return repr(number)
    if (named := _NO_NUMBERS.get(repr(number))) is not None:
        return named
    from decimal import Decimal

    sign, digits, _ = (exact := Decimal(repr(number))).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exact.adjusted()}"


def index(options: Sequence[Option]) -> dict[str, Option]:
    """Options by name; a duplicate is refused."""
    table: dict[str, Option] = {}
    for option in options:
        assert option.name not in table, f"option {option.name} is declared twice"
        table[option.name] = option
    return table
