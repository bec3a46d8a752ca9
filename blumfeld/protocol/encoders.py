"""The generator of encoders: one function per message and version, from objects to bytes.

Owns the shape of the generated source. `out` collects pieces that are joined at the end, `w` appends to it;
Records above a few KiB are not joined: they stay parts of their own, uncopied.

Invariants: what a version cannot express is never dropped in silence (unless declared ignorable), nor is a
null written where none may be: UnsupportedFieldError. Tagged fields are written in ascending order, and left
out when they have their defaults; unknown ones that were read are written again.
"""

from __future__ import annotations

from struct import Struct as Format
from struct import error as struct_error
from typing import Any, Final

from blumfeld.protocol.compile import FIXED, Dialect, Source, default_of, dialect_of, layout_of
from blumfeld.protocol.fields import NO_VERSIONS, Field
from blumfeld.protocol.primitives import encode_unsigned_varint
from blumfeld.protocol.schema import Encoder, Message, StructMeta, UnsupportedFieldError

LARGE_RECORDS: Final = 4096
"""From this size on, Records are not copied into the message."""
_MAX_STRING: Final = 32767


def make_encoder(message: type[Message], version: int) -> Encoder:
    """The encoder of one version. UnsupportedFieldError where there is no such version."""
    if version not in message.VERSIONS:
        raise UnsupportedFieldError(f"{message.__name__} has no version {version}, only {message.VERSIONS}")
    return _EncoderSource(message, version).compile()


class _Lengths(dict[int, bytes]):
    """Varints by their values; those of up to two bytes are kept."""

    def __missing__(self, value: int) -> bytes:
        encoded = encode_unsigned_varint(value)
        if value < 0x4000:
            self[value] = encoded
        return encoded


class _Packers(dict[int, Any]):
    """Functions that pack a count's prefix and so many numbers; those of short arrays are kept."""

    def __init__(self, compact: bool, code: str) -> None:
        super().__init__()
        self._compact = compact
        self._code = code

    def __missing__(self, count: int) -> Any:
        if not self._compact:
            pack = Format(f">i{count}{self._code}").pack
        else:
            prefix = encode_unsigned_varint(count + 1)
            whole = Format(f">{len(prefix)}s{count}{self._code}").pack
            pack = lambda _, *values: whole(prefix, *values)  # noqa: E731
            if len(prefix) == 1:
                pack = Format(f">B{count}{self._code}").pack
        if count <= 64:
            self[count] = pack
        return pack


_LENGTHS: Final = _Lengths()
_PACKERS: Final = {(compact, code): _Packers(compact, code) for compact in (True, False) for code in "?bhiqHId"}


def _tagged_section(known: dict[int, bytes] | None, unknown: dict[int, bytes] | None) -> bytes:
    """All tagged fields of a struct, after the count of them."""
    fields = {**(unknown or {}), **(known or {})}
    pieces = [_LENGTHS[len(fields)]]
    for tag in sorted(fields):
        pieces += (_LENGTHS[tag], _LENGTHS[len(fields[tag])], fields[tag])
    return b"".join(pieces)


class _EncoderSource:
    def __init__(self, message: type[Message], version: int) -> None:
        self._message = message
        self._dialect: Dialect = dialect_of(message, version)
        self._title = f"{message.__qualname__} v{version}"
        self._source = Source()
        self._pending: list[tuple[str, str]] = []
        self._out = "out"
        self._source.globals.update(
            lengths=_LENGTHS,
            tagged_section=_tagged_section,
            unsupported=self._unsupported,
            too_long=self._too_long,
            errors=(struct_error, AttributeError, TypeError),
            Unsupported=UnsupportedFieldError,
        )

    def _unsupported(self, field: str, value: object) -> UnsupportedFieldError:
        return UnsupportedFieldError(f"{self._title} has no field {field}, which is {value!r}")

    def _too_long(self, field: str, size: int) -> UnsupportedFieldError:
        return UnsupportedFieldError(f"{self._title}: {field} has {size} bytes, {_MAX_STRING} are allowed")

    def compile(self) -> Encoder:
        source = self._source
        with source.block("def encode(x):"):
            source.add("parts = []")
            source.add("out = []")
            with source.block("try:"):
                self._struct(self._message, "x")
                self._flush()
                source.add('parts.append(b"".join(out))')
            with source.block("except errors as error:"):
                source.add(f'raise Unsupported(f"{self._title}: {{error}} in {{x!r}}") from error')
            source.add("return parts")
        encoder: Encoder = source.function("encode", f"{self._title}, encode")
        return encoder

    # Fixed-width writes wait in `_pending` until something else has to be written.

    def _write(self, code: str, value: str) -> None:
        self._pending.append((code, value))

    def _append(self, piece: str) -> None:
        self._source.add(f"{self._out}.append({piece})")

    def _flush(self) -> None:
        if self._pending:
            self._append(self._packed(self._pending))
            self._pending = []

    def _packed(self, pending: list[tuple[str, str]]) -> str:
        if pending == [("B", "0")]:
            return r'b"\0"'
        pack = self._source.format("pack", "".join(code for code, _ in pending))
        return f"{pack}({', '.join(value for _, value in pending)})"

    def _flush_with_length(self, length: str, compact: bool, code: str) -> None:
        """Everything pending, and a length: in one call where it fits into a byte."""
        if not compact:
            self._write(code, length)
            self._flush()
        elif not self._pending:
            self._append(f"lengths[{length}]")
        else:
            with self._source.block(f"if {length} < 128:"):
                self._append(self._packed([*self._pending, ("B", length)]))
            with self._source.block("else:"):
                self._flush()
                self._append(f"lengths[{length}]")

    def _struct(self, struct: StructMeta, x: str) -> None:
        """Statements that write `x`; may leave writes pending."""
        layout = layout_of(struct, self._dialect.version)
        for field in layout.absent:
            if not field.ignorable:
                with self._source.block(f"if {self._differs(field, f'{x}.{field.name}')}:"):
                    self._source.add(f"raise unsupported({field.name!r}, {x}.{field.name})")
        for field in layout.sequence:
            self._field(field, f"{x}.{field.name}")
        if self._dialect.flexible:
            self._tagged_fields(layout.tagged, x)

    def _differs(self, field: Field, value: str) -> str:
        """An expression: whether the field has another value than its default."""
        default = default_of(field)
        if default is None:
            return f"{value} is not None"
        if default is list:
            return value if field.nullable == NO_VERSIONS else f"{value} != []"
        expression = self._source.default(field)
        if isinstance(field.type, StructMeta) and not callable(default):
            return f"{value} is not {expression} and {value} != {expression}"
        return f"{value} != {expression}"

    def _tagged_fields(self, known: list[Field], x: str) -> None:
        source = self._source
        unknown = f"{x}.unknown_tagged_fields"
        if not known:
            with source.block(f"if {unknown}:"):
                if self._pending:
                    self._append(self._packed(self._pending))
                self._append(f"tagged_section(None, {unknown})")
        else:
            tags = source.name("tags")
            source.add(f"{tags} = None")
            for field in known:
                with source.block(f"if {self._differs(field, f'{x}.{field.name}')}:"):
                    self._tagged_field(field, f"{x}.{field.name}", tags)
            with source.block(f"if {tags} is not None or {unknown}:"):
                if self._pending:
                    self._append(self._packed(self._pending))
                self._append(f"tagged_section({tags}, {unknown})")
        with source.block("else:"):
            self._write("B", "0")
            self._flush()

    def _tagged_field(self, field: Field, value: str, tags: str) -> None:
        """The field's bytes into the dict `tags`: its size goes before it."""
        source = self._source
        saved = self._out, self._pending
        self._out, self._pending = source.name("out"), []
        source.add(f"{self._out} = []")
        self._field(field, value)
        self._flush()
        with source.block(f"if {tags} is None:"):
            source.add(f"{tags} = {{}}")
        source.add(f'{tags}[{field.tag}] = b"".join({self._out})')
        self._out, self._pending = saved

    def _field(self, field: Field, value: str) -> None:
        if field.is_array:
            self._array(field, value)
        elif isinstance(field.type, StructMeta):
            self._inner_struct(field, field.type, value)
        elif field.type in FIXED:
            self._write(FIXED[field.type], value)
        else:
            compact, nullable = self._dialect.compact(field), self._dialect.nullable(field)
            self._sized(field.type, compact, nullable, value, field.name)

    def _inner_struct(self, field: Field, struct: StructMeta, value: str) -> None:
        source = self._source
        inner = source.name("y")
        source.add(f"{inner} = {value}")
        if not self._dialect.nullable(field):
            self._struct(struct, inner)
            return
        self._flush()
        with source.block(f"if {inner} is None:"):
            self._append(r'b"\0"' if self._dialect.tagged(field) else r'b"\xff"')
        with source.block("else:"):
            self._write("b", "1")
            self._struct(struct, inner)
            self._flush()

    def _sized(self, primitive: str, compact: bool, nullable: bool, value: str, name: str) -> None:
        """A string, bytes or records: a length and that many bytes."""
        source = self._source
        raw, size = source.name("raw"), source.name("n")
        encoded = f"{value}.encode()" if primitive == "String" else value
        if nullable:
            source.add(f"{raw} = {value}")
            with source.block(f"if {raw} is None:"):
                source.add(f'{raw} = b""')
                source.add(f"{size} = {0 if compact else -1}")
            with source.block("else:"):
                if primitive == "String":
                    source.add(f"{raw} = {raw}.encode()")
                source.add(f"{size} = len({raw}){' + 1' * compact}")
        else:
            source.add(f"{raw} = {encoded}")
            source.add(f"{size} = len({raw}){' + 1' * compact}")
        if primitive == "String":
            with source.block(f"if {size} > {_MAX_STRING + compact}:"):
                source.add(f"raise too_long({name!r}, len({raw}))")
        self._flush_with_length(size, compact, "h" if primitive == "String" else "i")
        if primitive == "Records" and self._out == "out":
            with source.block(f"if {size} > {LARGE_RECORDS}:"):
                source.add('parts.append(b"".join(out))')
                source.add(f"parts.append({raw})")
                source.add("out.clear()")
            with source.block("else:"):
                self._append(raw)
        else:
            self._append(raw)

    def _array(self, field: Field, value: str) -> None:
        source = self._source
        compact, nullable = self._dialect.compact(field), self._dialect.nullable(field)
        items, count = source.name("items"), source.name("n")
        source.add(f"{items} = {value}")
        if isinstance(field.type, str) and field.type in FIXED and field.type != "Uuid":
            self._numbers(field.type, compact, nullable, items)
            return
        if nullable:
            null = 0 if compact else -1
            source.add(f"{count} = {null} if {items} is None else len({items}){' + 1' * compact}")
        else:
            source.add(f"{count} = len({items}){' + 1' * compact}")
        self._flush_with_length(count, compact, "i")
        item = source.name("y")
        with source.block(f"for {item} in {items}{' or ()' * nullable}:"):
            if isinstance(field.type, StructMeta):
                self._struct(field.type, item)
            elif field.type == "Uuid":
                self._write("16s", item)
            else:
                self._sized(field.type, compact, False, item, f"an element of {field.name}")
            self._flush()

    def _numbers(self, primitive: str, compact: bool, nullable: bool, items: str) -> None:
        """An array of numbers: the count and all of them in one call."""
        source = self._source
        code = FIXED[primitive]
        packers = f"packers_{'compact' if compact else 'plain'}_{code.replace('?', 't')}"
        source.globals[packers] = _PACKERS[compact, code]
        self._flush()
        count = source.name("n")
        if nullable:
            with source.block(f"if {items} is None:"):
                self._append(r'b"\0"' if compact else r'b"\xff\xff\xff\xff"')
        with source.block("else:" if nullable else "if True:"):
            source.add(f"{count} = len({items})")
            self._append(f"{packers}[{count}]({count}{' + 1' * compact}, *{items})")
