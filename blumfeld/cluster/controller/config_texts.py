"""Why a config's value is refused, in Apache Kafka's words, which clients show and scripts look for.

Owns the texts; what is allowed is said by the options table.
"""

from __future__ import annotations

import re

from blumfeld.config.values import Between, OneOf, Option, Type, Value, format_value, split_list

_THROTTLED_REPLICAS = frozenset({"follower.replication.throttled.replicas", "leader.replication.throttled.replicas"})
_PARTITION_AND_BROKER = re.compile("[0-9]+:[0-9]+")
_NUMBERS = {Type.INT: 31, Type.SHORT: 15, Type.LONG: 63}


def why_not(option: Option, text: str) -> str | None:
    """Why `text` is no value of `option`; None if it is one."""
    stripped = text.strip()
    value: Value = stripped
    if option.type is Type.BOOLEAN:
        if stripped.lower() not in {"true", "false"}:
            return _invalid(option, text, "Expected value to be either true or false")
        return None
    if option.type in _NUMBERS or option.type is Type.DOUBLE:
        number = _number(option.type, stripped)
        if number is None:
            return _invalid(option, text, f"Not a number of type {option.type.name}")
        value = number
    if option.type is Type.LIST:
        return _why_not_list(option, split_list(text))
    if isinstance(option.valid, Between) and isinstance(value, int | float):
        return _why_not_in_range(option, option.valid, value)
    if isinstance(option.valid, OneOf) and not option.valid.allows(stripped):
        return _invalid(option, stripped, _one_of(option.valid))
    return None


def _number(kind: Type, text: str) -> int | float | None:
    try:
        if kind is Type.DOUBLE:
            return float(text)
        number = int(text, 10)
    except ValueError:
        return None
    limit = 1 << _NUMBERS[kind]
    return number if -limit <= number < limit and "_" not in text else None


def _why_not_in_range(option: Option, valid: Between, number: float) -> str | None:
    if valid.allows(number):
        return None
    shown = format_value(option, number) or ""
    if valid.also is not None:
        return _invalid(option, shown, f"Value must be between {valid.low} and {valid.high} or equal to {valid.also}")
    if valid.low is not None and number < valid.low:
        return _invalid(option, shown, f"Value must be at least {valid.low}")
    return _invalid(option, shown, f"Value must be no more than {valid.high}")


def _why_not_list(option: Option, members: list[str]) -> str | None:
    if option.name in _THROTTLED_REPLICAS:
        return _why_not_throttled_replicas(option, members)
    if "" in members:
        return f"Configuration '{option.name}' values must not be empty."
    if isinstance(option.valid, OneOf):
        for member in members:
            if not option.valid.allows(member):
                return _invalid(option, member, _one_of(option.valid))
    return None


def _why_not_throttled_replicas(option: Option, members: list[str]) -> str | None:
    if members == ["*"] or all(_PARTITION_AND_BROKER.fullmatch(member) for member in members):
        return None
    return _invalid(
        option,
        f"[{', '.join(members)}]",
        f"{option.name} must be the literal '*' or a list of replicas in the following format:"
        " [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    )


def _one_of(valid: OneOf) -> str:
    case = "" if valid.case_matters else " (case insensitive)"
    return f"String must be one of{case}: {', '.join(valid.choices)}"


def _invalid(option: Option, shown: str, reason: str) -> str:
    return f"Invalid value {'[hidden]' if option.sensitive else shown} for configuration {option.name}: {reason}"
