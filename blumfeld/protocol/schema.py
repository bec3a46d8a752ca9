"""The vocabulary in which a message is declared: one class per message, all its versions.

Owns the declarations' meaning: which fields a class has, their types, versions and defaults. The bytes are
`compile.py`'s business. A declaration is an ordinary annotated class whose annotations are strings
(`from __future__ import annotations` is required):

    class ProduceRequest(Request, key=ApiKey.PRODUCE, versions="3-13", flexible="9+"):
        transactional_id: String | None = None
        acks: Int16
        topics: Array[Topic]

        class Topic(Struct):
            name: String = field(versions="0-12", default="")
            topic_id: Uuid = field(versions="13+", default=ZERO_UUID)

Annotations: a primitive of `primitives.py`, the name of a Struct (declared in the class body, before or
after its use, or in the module), `Array[…]` of either, and any of them `| None`. A value in the class body
is the field's default; `field(…)` says more.

Defaults are Kafka's: zero, empty, or what the declaration says. `| None` alone does not make None the
default (in Kafka's definitions it is "null" only where they say so). An array's default is a fresh list; a
struct's is an instance shared by all, which refuses assignments: to change it, assign a new one. `__init__`
takes every field by keyword and may omit each of them; the type checker wants those without a default.

Invariants: creating a class is cheap (there are hundreds, and start-up is a feature): the metaclass only
notes the annotations. The rest is worked out when the class is first constructed, decoded or encoded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, dataclass_transform

from blumfeld.protocol.fields import MISSING, Field, VersionRange, field, parse_versions
from blumfeld.protocol.primitives import Buffer

if TYPE_CHECKING:
    from blumfeld.protocol.keys import ApiKey

__all__ = [
    "Data",
    "Field",
    "Message",
    "Record",
    "Request",
    "Response",
    "Struct",
    "StructMeta",
    "UnsupportedFieldError",
    "VersionRange",
    "field",
]

Encoder = Callable[[Any], "list[Buffer]"]
Decoder = Callable[[Buffer], Any]


class UnsupportedFieldError(ValueError):
    """A message was to be encoded in a version that cannot express it: our bug, never the peer's."""


@dataclass_transform(kw_only_default=True, eq_default=True, field_specifiers=(field,))
class StructMeta(type):
    """Makes slots of annotations. What it notes is opened when the class is first used."""

    _declared: dict[str, tuple[str, object]]
    _outer: StructMeta | None
    _fields: tuple[Field, ...] | None
    _shared_default: Struct

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        key: int | None = None,
        versions: str | None = None,
        flexible: str = "none",
    ) -> StructMeta:
        if not any(isinstance(base, StructMeta) for base in bases):
            del namespace["unknown_tagged_fields"]
            namespace["__slots__"] = ("unknown_tagged_fields",)
            return super().__new__(mcs, name, bases, namespace)
        declared = {
            field_name: (annotation, namespace.pop(field_name, MISSING))
            for field_name, annotation in namespace.get("__annotations__", {}).items()
            if not annotation.startswith("ClassVar")
        }
        namespace["__slots__"] = tuple(declared)
        made = super().__new__(mcs, name, bases, namespace)
        made._declared = declared
        made._outer = made._fields = None
        for value in namespace.values():
            if isinstance(value, StructMeta):
                value._outer = made
        if versions is not None:
            _describe_message(cast("type[Message]", made), key, versions, flexible)
        return made

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any) -> None:
        super().__init__(name, bases, namespace)

    @property
    def fields(cls) -> tuple[Field, ...]:
        """The fields in the order of the wire."""
        if cls._fields is None:
            find = partial(_find_struct, cls)
            cls._fields = tuple(Field(name, *noted, find) for name, noted in cls._declared.items())
        return cls._fields


def _describe_message(message: type[Message], key: int | None, versions: str, flexible: str) -> None:
    message.VERSIONS = parse_versions(versions)
    message.FLEXIBLE = None if flexible == "none" else parse_versions(flexible).low
    message._decoders = {}
    message._encoders = {}
    if key is None:
        return
    message.KEY = key
    declared = vars(sys.modules[message.__module__])
    if issubclass(message, Request):
        response = declared.get(message.__name__.removesuffix("Request") + "Response")
        if response is not None:
            message.RESPONSE = response
    elif issubclass(message, Response):
        request = declared.get(message.__name__.removesuffix("Response") + "Request")
        if request is not None:
            request.RESPONSE = message


def _find_struct(owner: StructMeta, name: str) -> StructMeta:
    """What the annotation means: sought in the class, then in those around it, then in the module."""
    first, *rest = name.split(".")
    scope: StructMeta | None = owner
    found: Any = None
    while scope is not None and found is None:
        found = scope.__dict__.get(first)
        scope = scope._outer
    found = found or vars(sys.modules[owner.__module__]).get(first)
    for part in rest:
        found = getattr(found, part, None)
    if not isinstance(found, StructMeta):
        raise TypeError(f"{owner.__qualname__}: {name!r} is neither a primitive nor a Struct")
    return found


class Struct(metaclass=StructMeta):
    """A group of fields inside a message. Equal when all fields are; mutable, so not hashable."""

    unknown_tagged_fields: dict[int, bytes] | None = field(default=None)
    """Tagged fields that the declaration does not know, by tag: kept, and written again."""

    if not TYPE_CHECKING:

        def __init__(self, **values):
            from blumfeld.protocol.compile import make_constructor

            cls = type(self)
            cls.__init__ = make_constructor(cls)
            cls.__init__(self, **values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Struct) or type(other)._declared is not type(self)._declared:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _names(self))

    def __repr__(self) -> str:
        shown = (
            f"{name}={_brief(getattr(self, name, MISSING))}"
            for name in _names(self)
            if name != "unknown_tagged_fields" or getattr(self, name, None)
        )
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _names(struct: Struct) -> Iterable[str]:
    yield from type(struct)._declared
    yield "unknown_tagged_fields"


def _brief(value: object) -> str:
    """Payloads are shown by their size: a message must not fill the log."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > 32:
        return f"<{len(value)} bytes>"
    return repr(value)


class Message(Struct):
    """What has versions and is sent or stored: decode and encode."""

    VERSIONS: ClassVar[VersionRange]
    FLEXIBLE: ClassVar[int | None]
    """The first version with compact lengths and tagged fields (KIP-482); None where there is none."""
    KEY: ClassVar[Any] = None
    MAY_BE_FOLLOWED: ClassVar[bool] = False
    """Whether bytes behind the last field are ignored, or an error."""
    _decoders: ClassVar[dict[int, Decoder]]
    _encoders: ClassVar[dict[int, Encoder]]

    @classmethod
    def decode(cls, buffer: Buffer, version: int) -> Self:
        """The message that fills `buffer` exactly (a request may be followed by more).

        Records stay slices of the buffer; everything else is copied out of it.
        Raises ProtocolError for whatever is wrong with it: cut short, too long, absurd counts, not UTF-8,
        a null where none may be, a version that does not exist.
        """
        try:
            decoder = cls._decoders[version]
        except KeyError:
            from blumfeld.protocol.decoders import make_decoder

            decoder = cls._decoders[version] = make_decoder(cls, version)
        decoded: Self = decoder(buffer)
        return decoded

    def encode(self, version: int) -> bytes:
        """The message's bytes. UnsupportedFieldError where `version` cannot express it."""
        parts = self.encode_parts(version)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def encode_parts(self, version: int) -> list[Buffer]:
        """The same bytes in pieces, for writing without a copy: large Records stay the buffers they are."""
        try:
            encoder = self._encoders[version]
        except KeyError:
            from blumfeld.protocol.encoders import make_encoder

            encoder = self._encoders[version] = make_encoder(type(self), version)
        return encoder(self)


class Request(Message):
    """`class XRequest(Request, key=ApiKey.X, versions="0-3", flexible="2+")`, beside its response."""

    KEY: ClassVar[ApiKey]
    RESPONSE: ClassVar[type[Response]]
    """Set by the metaclass: `XResponse` of the same module."""
    MAY_BE_FOLLOWED: ClassVar[bool] = True
    """As in Kafka, and librdkafka 2.16 needs it: its Metadata v13 for all topics ends three bytes later."""


class Response(Message):
    """`class XResponse(Response, key=ApiKey.X, versions="0-3", flexible="2+")`."""

    KEY: ClassVar[ApiKey]


class Record(Message):
    """A record of an internal topic: `key` is its type number, where it has one."""

    KEY: ClassVar[int | None] = None


class Data(Message):
    """What is framed or stored without a key: headers, control records, clients' embedded data."""
