"""Chance: identifiers, jitter and choices.

Owns the source of randomness; knows nothing of what it is used for. Invariant: `uuid()` is never one that
Kafka reserves (the first hundred, and those whose text begins with a dash, which command lines would take for
an option).
"""

from __future__ import annotations

import os
from collections.abc import MutableSequence, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")

_DASH_IN_BASE64URL = 62
_VERSION_BYTE, _VARIANT_BYTE = 6, 8


class Entropy(Protocol):
    """A source of randomness."""

    def token(self, size: int) -> bytes:
        """`size` random bytes, fit for secrets where the source is."""
        ...

    def uuid(self) -> bytes:
        """A random UUID (version 4) as 16 raw bytes, never a reserved one."""
        ...

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def randrange(self, n: int) -> int:
        """An integer in [0, n)."""
        ...

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, which must not be empty."""
        ...

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Put `items` into a random order, in place."""
        ...


def uuid_of(raw: bytes) -> bytes | None:
    """The version 4 UUID made of 16 random bytes, or None where its text would begin with a dash."""
    if raw[0] >> 2 == _DASH_IN_BASE64URL:
        return None
    uuid = bytearray(raw)
    uuid[_VERSION_BYTE] = uuid[_VERSION_BYTE] & 0x0F | 0x40
    uuid[_VARIANT_BYTE] = uuid[_VARIANT_BYTE] & 0x3F | 0x80
    return bytes(uuid)  # the version bits are set, so it lies far above the hundred reserved ones


class SystemEntropy:
    """The operating system's randomness, fit for secrets."""

    __slots__ = ()

    def token(self, size: int) -> bytes:
        return os.urandom(size)

    def uuid(self) -> bytes:
        while (uuid := uuid_of(os.urandom(16))) is None:
            pass
        return uuid

    def random(self) -> float:
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)

    def randrange(self, n: int) -> int:
        if n <= 0:
            raise ValueError(f"randrange needs a positive bound, not {n}")
        size = (n.bit_length() + 7) // 8 + 8  # eight spare bytes: the bias is below 2**-64
        return int.from_bytes(os.urandom(size), "big") % n

    def choice(self, items: Sequence[T]) -> T:
        return items[self.randrange(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        for index in range(len(items) - 1, 0, -1):
            other = self.randrange(index + 1)
            items[index], items[other] = items[other], items[index]


class SeededEntropy:
    """The same choices for the same seed: for simulation and tests."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        from random import Random

        self._random: Random = Random(seed)  # noqa: S311 - repeatable on purpose

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def uuid(self) -> bytes:
        while (uuid := uuid_of(self._random.randbytes(16))) is None:
            pass
        return uuid

    def random(self) -> float:
        return self._random.random()

    def randrange(self, n: int) -> int:
        return self._random.randrange(n)

    def choice(self, items: Sequence[T]) -> T:
        return items[self._random.randrange(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        self._random.shuffle(items)
