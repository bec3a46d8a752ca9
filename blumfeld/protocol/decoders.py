"""The generator of decoders: one function per message and version, from bytes to objects.

Owns the shape of the generated source. `b` is the data, `p` the position, `end` where the data ends; a
struct's fields are assigned where they are read.

Invariants: a decoder raises ProtocolError and nothing else, whatever the bytes are. What makes that cheap:
a length past the end leads `p` past the end, where the next read fails, or else the last check (`p` is `end`)
does; slices never overrun; only counts are checked beforehand, since memory is made by them (`room` is what
is left of it). Lengths below −1, nulls where none may be and tagged fields that are not as long as they say
are refused on the spot.
"""

from __future__ import annotations

from struct import Struct as Format
from struct import calcsize
from struct import error as struct_error
from typing import Any, Final

from blumfeld.protocol.compile import FIXED, Dialect, Source, dialect_of, layout_of
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.fields import Field
from blumfeld.protocol.primitives import decode_unsigned_varint, read_tagged_fields
from blumfeld.protocol.schema import Decoder, Message, StructMeta

MAX_ELEMENTS: Final = 1_000_000
"""Structs, strings and tagged fields that one message may have. An element of two bytes becomes an object of
sixty and more; without a limit, a frame of 100 MiB would become one of gigabytes."""
_MAX_STRING: Final = 32767


def make_decoder(message: type[Message], version: int) -> Decoder:
    """The decoder of one version. ProtocolError where there is no such version."""
    if version not in message.VERSIONS:
        raise ProtocolError(f"{message.__name__} has no version {version}, only {message.VERSIONS}")
    return _DecoderSource(message, version).compile()


class _Unpackers(dict[int, Any]):
    """Functions that unpack arrays of so many numbers, made when first needed; short ones are kept."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def __missing__(self, count: int) -> Any:
        unpack = Format(f">{count}{self._code}").unpack_from
        if count <= 64:
            self[count] = unpack
        return unpack


_UNPACKERS: Final = {code: _Unpackers(code) for code in "?bhiqHId"}


class _DecoderSource:
    def __init__(self, message: type[Message], version: int) -> None:
        self._message = message
        self._dialect: Dialect = dialect_of(message, version)
        self._title = f"{message.__qualname__} v{version}"
        self._source = Source()
        self._pending: list[tuple[str, str]] = []
        self._keeps_slices = _has_records(message)
        self._source.globals.update(
            new=object.__new__,
            varint=decode_unsigned_varint,
            read_tagged_fields=read_tagged_fields,
            bad=self._bad,
            MAX_ELEMENTS=MAX_ELEMENTS,
            errors=(IndexError, struct_error, UnicodeDecodeError),
        )

    def _bad(self, reason: str) -> ProtocolError:
        return ProtocolError(f"{self._title}: {reason}")

    def compile(self) -> Decoder:
        source = self._source
        with source.block("def decode(buffer):"):
            if self._keeps_slices:
                source.add("b = buffer if type(buffer) is memoryview else memoryview(buffer)")
            else:
                source.add("b = buffer if type(buffer) is bytes else bytes(buffer)")
            source.add("end = len(b)")
            source.add("room = end if end < MAX_ELEMENTS else MAX_ELEMENTS")
            source.add("p = 0")
            with source.block("try:"):
                self._struct(self._message, "x")
                self._flush()
            with source.block("except errors as error:"):
                source.add("raise bad(str(error)) from error")
            with source.block("if p > end:"):
                source.add('raise bad(f"{p - end} bytes are missing")')
            if not self._message.MAY_BE_FOLLOWED:
                with source.block("if p < end:"):
                    source.add('raise bad(f"{end - p} bytes too many")')
            source.add("return x")
        decoder: Decoder = source.function("decode", f"{self._title}, decode")
        return decoder

    # Fixed-width reads wait in `_pending` until something else has to be read.

    def _read(self, code: str, target: str) -> None:
        self._pending.append((code, target))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        codes = "".join(code for code, _ in pending)
        targets = ", ".join(target for _, target in pending)
        if codes == "B":
            self._source.add(f"{targets} = b[p]")
        else:
            unpack = self._source.format("unpack_from", codes)
            self._source.add(f"{targets}{',' * (len(pending) == 1)} = {unpack}(b, p)")
        self._source.add(f"p += {calcsize('>' + codes)}")

    def _struct(self, struct: StructMeta, x: str) -> None:
        """Statements that make `x` of what is at `p`; may leave reads pending."""
        source = self._source
        layout = layout_of(struct, self._dialect.version)
        source.add(f"{x} = new({source.constant(struct.__name__ + '_', struct)})")
        for field in (*layout.absent, *layout.tagged):
            source.add(f"{x}.{field.name} = {source.default(field)}")
        source.add(f"{x}.unknown_tagged_fields = None")
        for field in layout.sequence:
            self._field(field, f"{x}.{field.name}")
        if self._dialect.flexible:
            self._tagged_fields(layout.tagged, x)

    def _tagged_fields(self, known: list[Field], x: str) -> None:
        source = self._source
        count = source.name("tags")
        self._read("B", count)
        self._flush()
        with source.block(f"if {count}:"):
            self._long_varint(count)
            self._take_room(count, "tagged fields")
            if not known:
                source.add(f"{x}.unknown_tagged_fields, p = read_tagged_fields(b, p, {count})")
                return
            tag, size, stop = source.name("tag"), source.name("size"), source.name("stop")
            with source.block(f"for _ in range({count}):"):
                for part in (tag, size):
                    source.add(f"{part} = b[p]")
                    source.add("p += 1")
                    self._long_varint(part)
                source.add(f"{stop} = p + {size}")
                for index, field in enumerate(known):
                    with source.block(f"{'elif' if index else 'if'} {tag} == {field.tag}:"):
                        self._field(field, f"{x}.{field.name}")
                        self._flush()
                with source.block("else:"):
                    with source.block(f"if {x}.unknown_tagged_fields is None:"):
                        source.add(f"{x}.unknown_tagged_fields = {{}}")
                    source.add(f"{x}.unknown_tagged_fields[{tag}] = bytes(b[p:{stop}])")
                    source.add(f"p = {stop}")
                with source.block(f"if p != {stop}:"):
                    source.add(f'raise bad(f"tagged field {{{tag}}} is not {{{size}}} bytes long")')

    def _long_varint(self, name: str, at_most: int | None = None) -> None:
        """The rest of a varint whose first byte was read into `name`."""
        with self._source.block(f"if {name} > 127:"):
            self._source.add("q = b[p]")
            self._source.add("p += 1")
            with self._source.block("if q < 128:"):
                self._source.add(f"{name} += (q << 7) - 128")
            with self._source.block("else:"):
                self._source.add(f"{name}, p = varint(b, p - 2)")
            if at_most is not None:
                with self._source.block(f"if {name} > {at_most}:"):
                    self._source.add('raise bad("a string is longer than 32767 bytes")')

    def _take_room(self, count: str, name: str) -> None:
        """Elements take at least a byte each, and a message may have so many of them altogether."""
        self._source.add(f"room -= {count}")
        with self._source.block("if room < 0:"):
            self._source.add(f'raise bad(f"{name}: {{{count}}} elements, where {{room + {count}}} are possible")')

    def _field(self, field: Field, target: str) -> None:
        if field.is_array:
            self._array(field, target)
        elif isinstance(field.type, StructMeta):
            self._inner_struct(field, field.type, target)
        elif field.type in FIXED:
            self._read(FIXED[field.type], target)
        else:
            compact = self._dialect.compact(field)
            self._sized(field.type, compact, self._dialect.nullable(field), target, field.name)

    def _inner_struct(self, field: Field, struct: StructMeta, target: str) -> None:
        source = self._source
        inner = source.name("y")
        if not self._dialect.nullable(field):
            self._struct(struct, inner)
            self._flush()
            source.add(f"{target} = {inner}")
            return
        marker = source.name("n")
        self._read("b", marker)
        self._flush()
        null = f"{marker} <= 0" if self._dialect.tagged(field) else f"{marker} < 0"
        with source.block(f"if {null}:"):
            source.add(f"{target} = None")
        with source.block("else:"):
            self._struct(struct, inner)
            self._flush()
            source.add(f"{target} = {inner}")

    def _sized(self, primitive: str, compact: bool, nullable: bool, target: str, name: str) -> None:
        """A string, bytes or records: a length and that many bytes."""
        source = self._source
        size = source.name("n")
        self._read("B" if compact else "h" if primitive == "String" else "i", size)
        self._flush()
        if compact:
            self._long_varint(size, _MAX_STRING + 1 if primitive == "String" else None)
        with source.block(f"if {size}:" if compact else f"if {size} >= 0:"):
            source.add(f"q = p + {size} - 1" if compact else f"q = p + {size}")
            source.add(f"{target} = {self._slice(primitive)}")
            source.add("p = q")
        self._null(size, compact, nullable, target, name)

    def _slice(self, primitive: str) -> str:
        if primitive == "Records":
            return "b[p:q]"
        if primitive == "Bytes":
            return "bytes(b[p:q])" if self._keeps_slices else "b[p:q]"
        return "str(b[p:q], 'utf-8')" if self._keeps_slices else "b[p:q].decode()"

    def _null(self, size: str, compact: bool, nullable: bool, target: str, name: str) -> None:
        source = self._source
        if nullable:
            with source.block("else:" if compact else f"elif {size} == -1:"):
                source.add(f"{target} = None")
        if not (nullable and compact):
            with source.block("else:"):
                source.add(f'raise bad(f"{name} is null or has length {{{size}}}")')

    def _array(self, field: Field, target: str) -> None:
        source = self._source
        compact = self._dialect.compact(field)
        count = source.name("n")
        self._read("B" if compact else "i", count)
        self._flush()
        if compact:
            self._long_varint(count)
        with source.block(f"if {count}:" if compact else f"if {count} >= 0:"):
            if compact:
                source.add(f"{count} -= 1")
            if isinstance(field.type, str) and field.type in FIXED:
                with source.block(f"if {count} * {calcsize(FIXED[field.type])} > end - p:"):
                    source.add(f'raise bad(f"{field.name} has {{{count}}} elements, in {{end - p}} bytes")')
            else:
                self._take_room(count, field.name)
            self._elements(field, compact, count, target)
        self._null(count, compact, self._dialect.nullable(field), target, field.name)

    def _elements(self, field: Field, compact: bool, count: str, target: str) -> None:
        source = self._source
        if field.type == "Uuid":
            raw = "bytes(b[i:i + 16])" if self._keeps_slices else "b[i:i + 16]"
            source.add(f"{target} = [{raw} for i in range(p, p + 16 * {count}, 16)]")
            source.add(f"p += 16 * {count}")
            return
        if isinstance(field.type, str) and field.type in FIXED:
            code = FIXED[field.type]
            source.globals[f"unpackers_{code.replace('?', 't')}"] = _UNPACKERS[code]
            source.add(f"{target} = [*unpackers_{code.replace('?', 't')}[{count}](b, p)]")
            source.add(f"p += {calcsize('>' + code)} * {count}")
            return
        items, item = source.name("items"), source.name("y")
        source.add(f"{items} = {target} = []")
        with source.block(f"while {count}:"):
            source.add(f"{count} -= 1")
            if isinstance(field.type, StructMeta):
                self._struct(field.type, item)
            else:
                self._sized(field.type, compact, False, item, f"an element of {field.name}")
            self._flush()
            source.add(f"{items}.append({item})")


def _has_records(struct: StructMeta) -> bool:
    return any(
        _has_records(field.type) if isinstance(field.type, StructMeta) else field.type == "Records"
        for field in struct.fields
    )
