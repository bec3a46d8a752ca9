"""Every message declared, and the words in which tests speak of one in one version."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from blumfeld.protocol.keys import DEAD_KEYS, ApiKey, request_class, response_class
from blumfeld.protocol.schema import Message

PACKAGE = "blumfeld.protocol.messages"

UNDECLARED_KEYS = frozenset({*range(76, 80), *range(83, 94)})
"""Share groups and streams groups: not served."""

OTHER_MODULES = (
    "header",
    "metadata_log",
    "offsets_log",
    "transactions_log",
    "control_records",
    "consumer_protocol",
    "default_principal",
    "quorum_state",
)


class Versioned(NamedTuple):
    """One message in one version."""

    message: type[Message]
    version: int

    def __str__(self) -> str:
        return f"{self.message.__name__}-v{self.version}"

    @property
    def is_flexible(self) -> bool:
        return self.message.FLEXIBLE is not None and self.version >= self.message.FLEXIBLE


@cache
def api_messages() -> tuple[type[Message], ...]:
    """Requests and responses in the order of their keys."""
    keys = [key for key in ApiKey if key not in DEAD_KEYS and key not in UNDECLARED_KEYS]
    return tuple(find(key) for key in keys for find in (request_class, response_class))


@cache
def other_messages() -> tuple[type[Message], ...]:
    """Headers, records of internal topics, control records and what clients embed."""
    modules = [import_module(f"{PACKAGE}.{name}") for name in OTHER_MODULES]
    return tuple(message for module in modules for message in declared_in(module))


def declared_in(module: ModuleType) -> list[type[Message]]:
    """The messages that a module declares, in its order."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__
    ]


@cache
def all_messages() -> tuple[type[Message], ...]:
    return api_messages() + other_messages()


@cache
def all_versions() -> tuple[Versioned, ...]:
    """Every message in every version."""
    return tuple(Versioned(message, version) for message in all_messages() for version in message.VERSIONS.all)
