"""Frames that are not quite right: every way of damaging one.

A `Mutant` is bytes as they go over the wire, size prefix included, and whether that prefix is true: after a false one,
nothing more can be said on that connection.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from blumfeld.broker.dispatch import Api
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.frame import decode_request_header
from blumfeld.protocol.keys import request_class

ABSURD = tuple(
    bytes.fromhex(text)
    for text in (
        *("ff", "7f", "80", "00", "01"),
        *("ffff", "7fff", "8000"),
        *("ffffffff", "7fffffff", "80000000", "00ffffff", "fffffffe"),
        *("ffffffff0f", "ffffffff07", "8080808080", "ffffffffffffffff01"),
        *("7fffffffffffffff", "8000000000000000"),
    )
)
HEADER_FIXED = 8  # key, version, correlation id
MAX_ADDED = 5_000


class Mutant(NamedTuple):
    """One damaged frame."""

    way: str
    data: bytes
    """As it is sent."""
    framed: bool
    """Whether the size prefix says the truth."""

    @property
    def frame(self) -> bytes:
        return self.data[4:]

    def reaches_decoder(self, served: Mapping[int, Api]) -> bool:
        """Whether header, key and version are such that the broker decodes the body."""
        if not self.framed or len(self.frame) < HEADER_FIXED:
            return False
        key, version = struct.unpack_from(">hh", self.frame)
        api = served.get(key)
        if api is None or not api.first_version <= version <= api.last_version:
            return False
        if version not in request_class(api.key).VERSIONS:
            return False
        try:
            decode_request_header(self.frame)
        except ProtocolError:
            return False
        return True


class Mutator:
    """Damages frames, given without their size prefix."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ways: list[tuple[int, Callable[[bytes, int], Mutant]]] = [
            (30, self._unchanged),
            (16, self._flipped),
            (16, self._absurd),
            (9, self._cut),
            (8, self._stretched),
            (6, self._spliced),
            (5, self._garbage),
            (4, self._unknown_version),
            (3, self._unknown_key),
            (6, self._wrong_header),
            (3, self._broken_off),
            (2, self._absurd_size),
        ]
        self._weights = [weight for weight, _ in self._ways]

    def mutate(self, frame: bytes, body_at: int) -> Mutant:
        """One mutant of a frame whose body begins at `body_at`."""
        return self._chance.choices(self._ways, self._weights)[0][1](frame, body_at)

    def _position(self, frame: bytes, body_at: int) -> int:
        return self._chance.randrange(min(body_at, len(frame)), len(frame) + 1)

    def _unchanged(self, frame: bytes, body_at: int) -> Mutant:
        return _true("unchanged", frame)

    def _flipped(self, frame: bytes, body_at: int) -> Mutant:
        changed = bytearray(frame)
        for _ in range(self._chance.choice((1, 1, 2, 4, 16))):
            if body_at < len(changed):
                changed[self._chance.randrange(body_at, len(changed))] ^= 1 << self._chance.randrange(8)
        return _true("flipped", bytes(changed))

    def _absurd(self, frame: bytes, body_at: int) -> Mutant:
        number, at = self._chance.choice(ABSURD), self._position(frame, body_at)
        return _true("absurd", frame[:at] + number + frame[at + len(number) :])

    def _cut(self, frame: bytes, body_at: int) -> Mutant:
        return _true("cut", frame[: self._position(frame, body_at)])

    def _stretched(self, frame: bytes, body_at: int) -> Mutant:
        at = self._position(frame, body_at)
        count = self._chance.choice((1, 2, 4, 30, MAX_ADDED))
        added = self._chance.choice((self._chance.randbytes(count), bytes(count), frame[at : at + count]))
        return _true("stretched", frame[:at] + added + frame[at:])

    def _spliced(self, frame: bytes, body_at: int) -> Mutant:
        """A piece of the body stands somewhere else, or is missing."""
        start, stop = sorted((self._position(frame, body_at), self._position(frame, body_at)))
        piece, rest = frame[start:stop], frame[:start] + frame[stop:]
        at = self._position(rest, body_at)
        return _true("spliced", rest if self._chance.random() < 0.5 else rest[:at] + piece + rest[at:])

    def _garbage(self, frame: bytes, body_at: int) -> Mutant:
        return _true("garbage", frame[:body_at] + self._chance.randbytes(self._chance.choice((0, 1, 10, 100, 3000))))

    def _unknown_version(self, frame: bytes, body_at: int) -> Mutant:
        version = self._chance.choice((-1, 100, 2**15 - 1, -(2**15), self._chance.randrange(0, 20)))
        return _true("unknown version", frame[:2] + struct.pack(">h", version) + frame[4:])

    def _unknown_key(self, frame: bytes, body_at: int) -> Mutant:
        key = self._chance.choice((-1, 95, 1000, 2**15 - 1, 4, 5, 6, 7, self._chance.randrange(95)))
        return _true("unknown key", struct.pack(">h", key) + frame[2:])

    def _wrong_header(self, frame: bytes, body_at: int) -> Mutant:
        at = self._chance.randrange(HEADER_FIXED, max(body_at, HEADER_FIXED + 1))
        number = self._chance.choice(ABSURD)
        return _true("wrong header", frame[:at] + number + frame[at + len(number) :])

    def _broken_off(self, frame: bytes, body_at: int) -> Mutant:
        """The connection ends in the middle of it."""
        whole = struct.pack(">i", len(frame)) + frame
        return Mutant("broken off", whole[: self._chance.randrange(1, len(whole))], framed=False)

    def _absurd_size(self, frame: bytes, body_at: int) -> Mutant:
        size = self._chance.choice((-(2**31), -1, 0, 1, 7, 104_857_600, 104_857_601, 2**31 - 1, len(frame) + 1))
        return Mutant("absurd size", struct.pack(">i", size) + frame, framed=False)


def _true(way: str, frame: bytes) -> Mutant:
    return Mutant(way, struct.pack(">i", len(frame)) + frame, framed=True)
