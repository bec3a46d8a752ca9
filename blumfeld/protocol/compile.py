"""Declarations made into functions: straight-line Python source, compiled when a class is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Decoder, Encoder, Message, Struct

_MISSING: Any = object()


def make_constructor(struct: type[Struct]) -> Callable[..., None]:
    """`__init__` with a keyword for each field, and Kafka's defaults."""
    namespace: dict[str, Any] = {"MISSING": _MISSING}
    parameters, body = [], []
    for field in struct.fields:
        name = field.name
        if callable(field.default):
            namespace[f"make_{name}"] = field.default
            parameters.append(f"{name}=MISSING")
            body.append(f"    self.{name} = make_{name}() if {name} is MISSING else {name}")
        else:
            namespace[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
            body.append(f"    self.{name} = {name}")
    parameters.append("unknown_tagged_fields=None")
    body.append("    self.unknown_tagged_fields = unknown_tagged_fields")
    source = f"def __init__(self, *, {', '.join(parameters)}):\n" + "\n".join(body)
    exec(source, namespace)  # noqa: S102  # source is made of declarations, never of input
    constructor: Callable[..., None] = namespace["__init__"]
    return constructor


def make_decoder(message: type[Message], version: int) -> Decoder:
    raise AssertionError(f"not yet: {message} {version}")


def make_encoder(message: type[Message], version: int) -> Encoder:
    raise AssertionError(f"not yet: {message} {version}")
