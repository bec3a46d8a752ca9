"""Bugs to plant: each makes the code wrong in one place, as a mistake would, and the simulation has to find it.

A plant is a context manager; what it changes is as before afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from blumfeld.protocol.batch import RecordBatch
from blumfeld.storage import cleaning, compaction, removal
from blumfeld.storage.cleaned_transactions import CleanedTransactions
from blumfeld.storage.data_directory import DataDirectory
from blumfeld.storage.index import OffsetIndex, TimeIndex
from blumfeld.storage.offset_map import OffsetMap
from blumfeld.storage.segment import Segment
from tests.sim.storage.world import SimulationFailure, World


@contextmanager
def _instead(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    original = owner.__dict__[name]
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def skipped_fsync() -> AbstractContextManager[None]:
    """A sealed segment is not synced before the recovery point passes it."""
    return _instead(Segment, "sync", lambda self: None)


def offset_index_off_by_one() -> AbstractContextManager[None]:
    """The offset index says one offset too much."""
    append = OffsetIndex.append
    return _instead(OffsetIndex, "append", lambda self, last, position: append(self, last + 1, position))


def time_index_off_by_one() -> AbstractContextManager[None]:
    """The time index says one offset too little."""
    append = TimeIndex.append
    return _instead(
        TimeIndex, "append", lambda self, timestamp, offset: append(self, timestamp, max(offset - 1, self.base_offset))
    )


def lost_rename() -> AbstractContextManager[None]:
    """Compacted segments replace the old ones without the directory being synced in between."""

    def finish(log: Any, new: list[Segment], old: list[Segment]) -> None:
        sync, log.home.disk.sync_directory = log.home.disk.sync_directory, lambda path: None
        try:
            original(log, new, old)
        finally:
            log.home.disk.sync_directory = sync

    original = removal.finish_replacement
    return _instead(removal, "finish_replacement", finish)


def newest_value_lost() -> AbstractContextManager[None]:
    """Compaction takes a key's newest record for superseded: it notes an offset behind the record's."""

    def fill(offsets: OffsetMap, batch: RecordBatch, start: int, transactions: CleanedTransactions) -> bool:
        room = original(offsets, batch, start, transactions)
        noted = offsets.offsets
        noted.update({key: offset + 1 for key, offset in noted.items() if offset >= batch.base_offset})
        return room

    original = cleaning.fill
    return _instead(compaction, "fill", fill)


def forgotten_handle() -> AbstractContextManager[None]:
    """A segment gives its file back only half of the time."""
    release = Segment.release

    def forget(self: Segment) -> None:
        if self.base_offset % 2:
            self.home.disk.open(self.data.path)
        release(self)

    return _instead(Segment, "release", forget)


def checkpoint_not_lowered() -> AbstractContextManager[None]:
    """A truncation leaves the recovery point on the disk where it was."""
    return _instead(DataDirectory, "lower", lambda self, log, offset: None)


PLANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "skipped fsync": skipped_fsync,
    "offset index off by one": offset_index_off_by_one,
    "time index off by one": time_index_off_by_one,
    "lost rename": lost_rename,
    "newest value lost": newest_value_lost,
    "forgotten handle": forgotten_handle,
    "checkpoint not lowered": checkpoint_not_lowered,
}


def find(name: str, seeds: int = 1_000) -> tuple[int, str] | None:
    """The first seed that finds the planted bug, and what it says; None if none of `seeds` does.

    A seed that fails without the plant too has found something else, and does not count.
    """
    for seed in range(seeds):
        with PLANTS[name]():
            failure = _failure_of(seed)
        if failure is not None and _failure_of(seed) is None:
            return seed, failure
    return None


def _failure_of(seed: int) -> str | None:
    try:
        World(seed).run()
    except SimulationFailure as failure:
        return str(failure)
    return None
