"""The newest offset of each key in the dirty part of a log, in bounded memory: what compaction goes by.

Owns an estimate of what it costs. Knows no batches. Long keys are kept as digests of 40 bytes, which no shorter key can
equal.

Invariants: `get` never answers an offset that was not put for that very key (but for a collision of BLAKE2b); what was
put is never forgotten; `put` refuses a new key once the memory is used up, and always takes a known one.
"""

from __future__ import annotations

from hashlib import blake2b

SHORT_KEY = 40
"""Keys below this size are kept as they are; digests of longer ones have this size."""
_ENTRY_BYTES = 33 + 32 + 100
"""What a key costs beside its bytes: two objects, and its share of a dict (at its largest: while it grows)."""


class OffsetMap:
    """Key → offset.

    `offsets`: of short keys, and of the digests of long ones. `latest_offset`: everything from the dirty part's start
    up to it has been put; −1 at first.
    """

    __slots__ = ("_left", "latest_offset", "offsets")

    def __init__(self, max_bytes: int) -> None:
        self.offsets: dict[bytes, int] = {}
        self.latest_offset = -1
        self._left = max_bytes

    def __len__(self) -> int:
        return len(self.offsets)

    def put(self, key: bytes, offset: int) -> bool:
        """Note `offset` for `key`; False where there is no room for another key."""
        if len(key) >= SHORT_KEY:
            key = blake2b(key, digest_size=SHORT_KEY).digest()
        if key not in self.offsets:
            cost = len(key) + _ENTRY_BYTES
            if cost > self._left:
                return False
            self._left -= cost
        self.offsets[key] = offset
        return True

    def get(self, key: bytes) -> int:
        """The newest offset of `key`, −1 if it has none in the dirty part."""
        if len(key) >= SHORT_KEY:
            key = blake2b(key, digest_size=SHORT_KEY).digest()
        return self.offsets.get(key, -1)
