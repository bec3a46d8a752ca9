"""Memory for reads: used again, never while somebody looks at it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blumfeld.env.disk import RealDisk
from blumfeld.env.read_buffers import KEPT_BYTES, SMALLEST_BYTES, ReadBuffers

MIB = 1 << 20
needs_counts = pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="this interpreter counts no references")


@needs_counts
def test_what_nobody_looks_at_is_used_again() -> None:
    buffers = ReadBuffers()
    first = buffers.take(MIB)
    memory = id(first.obj)
    del first
    assert id(buffers.take(MIB - 1000).obj) == memory


def test_a_view_however_small_keeps_its_memory() -> None:
    buffers = ReadBuffers()
    whole = buffers.take(MIB)
    whole[5:7] = b"ab"
    piece = whole[5:7]
    del whole
    for _ in range(3):
        other = buffers.take(MIB)
        other[:] = bytes(MIB)
    assert bytes(piece) == b"ab"


def test_a_view_has_the_size_that_was_asked_for() -> None:
    buffers = ReadBuffers()
    for size in (0, 1, SMALLEST_BYTES - 1, SMALLEST_BYTES, SMALLEST_BYTES + 1, MIB, KEPT_BYTES, KEPT_BYTES + 1):
        assert len(buffers.take(size)) == size


@needs_counts
def test_no_more_is_kept_than_the_bound() -> None:
    buffers = ReadBuffers()
    in_use = [buffers.take(MIB) for _ in range(100)]
    assert sum(map(len, buffers._buffers)) == KEPT_BYTES
    in_use.clear()
    large = [buffers.take(5 * MIB) for _ in range(4)]
    assert sum(map(len, buffers._buffers)) <= KEPT_BYTES
    assert sum(len(buffer) == 5 * MIB for buffer in buffers._buffers) == 3
    assert len(large) == 4


def test_threads_never_share_memory() -> None:
    buffers = ReadBuffers()

    def work(number: int) -> bool:
        for _ in range(200):
            view = buffers.take(SMALLEST_BYTES)
            view[:] = bytes([number]) * SMALLEST_BYTES
            if bytes(view) != bytes([number]) * SMALLEST_BYTES:
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))


def test_reads_from_a_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    file = RealDisk().open(str(tmp_path / "f"), create=True)
    file.append(b"a" * MIB + b"b" * MIB)
    first, second = file.read_cached(0, MIB), file.read_cached(MIB, MIB)
    if first is None or second is None:
        pytest.skip("this platform can't tell what is cached")
    assert bytes(first) == b"a" * MIB
    assert bytes(second) == b"b" * MIB
    file.close()
