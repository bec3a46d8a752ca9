"""The offset map: exact, bounded, and as large as it says."""

from __future__ import annotations

import tracemalloc

from blumfeld.storage.offset_map import OffsetMap


def test_the_newest_offset_of_each_key() -> None:
    offsets = OffsetMap(10_000)
    assert offsets.put(b"a", 1)
    assert offsets.put(b"b", 2)
    assert offsets.put(b"a", 3)
    assert (offsets.get(b"a"), offsets.get(b"b"), offsets.get(b"c"), len(offsets)) == (3, 2, -1, 2)


def test_long_keys_are_told_apart_and_never_taken_for_short_ones() -> None:
    offsets = OffsetMap(10_000)
    long, other = b"x" * 5_000, b"x" * 4_999 + b"y"
    offsets.put(long, 1)
    offsets.put(other, 2)
    assert (offsets.get(long), offsets.get(other)) == (1, 2)
    digest = next(iter(offsets.offsets))
    assert len(digest) == 40
    assert offsets.get(digest) == -1
    for size in (39, 40, 41):
        offsets.put(b"k" * size, size)
    assert [offsets.get(b"k" * size) for size in (39, 40, 41)] == [39, 40, 41]


def test_a_full_map_refuses_new_keys_and_takes_known_ones() -> None:
    offsets = OffsetMap(500)
    taken = [key for key in (b"a", b"b", b"c", b"d") if offsets.put(key, 1)]
    assert taken == [b"a", b"b", b"c"]
    assert offsets.put(b"a", 9)
    assert (offsets.get(b"a"), offsets.get(b"d")) == (9, -1)


def test_the_memory_is_what_was_allowed() -> None:
    allowed = 4 << 20
    tracemalloc.start()
    offsets = OffsetMap(allowed)
    number = 0
    while offsets.put(b"key-%d" % number, 1 << 40 | number):
        number += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number > 20_000
    assert peak < allowed * 1.1
