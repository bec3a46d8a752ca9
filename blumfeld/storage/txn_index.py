"""The transaction index of a segment: which ranges of offsets were aborted by markers in it.

Owns `.txnindex`: 34 bytes an entry (int16 version 0, int64 producer id, first offset, last offset, last stable offset
when the marker was written), in the order of the markers. Knows nothing of batches.

Invariants: there is no file before the first abort; last offsets ascend.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

from blumfeld.storage.results import AbortedTransaction

if TYPE_CHECKING:
    from blumfeld.env.disk import Disk

ENTRY = Struct(">hqqqq")


class TransactionIndex:
    """Aborted transactions whose markers are in one segment."""

    __slots__ = ("_content", "_disk", "exists", "path")

    def __init__(self, disk: Disk, path: str, *, exists: bool) -> None:
        self._disk = disk
        self.path = path
        self.exists = exists
        self._content: bytearray | None = None

    def append(self, aborted: AbortedTransaction) -> None:
        """Add a transaction; its marker is behind all others'."""
        entry = ENTRY.pack(0, *aborted.as_tuple())
        content = self._loaded()
        file = self._disk.open(self.path, create=True)
        try:
            file.truncate(len(content))
            file.append(entry)
        finally:
            file.close()
        self.exists = True
        content += entry

    def _loaded(self) -> bytearray:
        content = self._content
        if content is None:
            content = bytearray(self._disk.read_file(self.path)) if self.exists else bytearray()
            del content[len(content) - len(content) % ENTRY.size :]
            self._content = content
        return content

    def copy(self) -> bytes:
        """All entries as they are now, for `overlapping`. From any thread: nothing is kept, nothing changes."""
        content = self._content
        data = self._disk.read_file(self.path) if content is None and self.exists else bytes(content or b"")
        return data[: len(data) - len(data) % ENTRY.size]

    def all(self) -> list[AbortedTransaction]:
        """Every entry."""
        return [AbortedTransaction(*fields[1:]) for fields in ENTRY.iter_unpack(self._loaded())] if self.exists else []

    def collect(self, start: int, end: int, found: list[AbortedTransaction]) -> bool:
        """Add to `found` the transactions that overlap [start, end); True where no later one can."""
        for aborted in self.all():
            if aborted.last_offset >= start and aborted.first_offset < end:
                found.append(aborted)
            if aborted.last_stable_offset >= end:
                return True
        return False

    def truncate(self, offset: int) -> None:
        """Drop the transactions whose markers are at or behind `offset`."""
        if not self.exists:
            return
        content = self._loaded()
        kept = len(content)
        while kept and ENTRY.unpack_from(content, kept - ENTRY.size)[3] >= offset:
            kept -= ENTRY.size
        if kept < len(content):
            file = self._disk.open(self.path)
            try:
                file.truncate(kept)
            finally:
                file.close()
            del content[kept:]

    def reset(self) -> None:
        """Forget everything, the file too."""
        if self.exists:
            with suppress(FileNotFoundError):
                self._disk.remove(self.path)
        self.exists = False
        self._content = None

    def sync(self) -> None:
        """Make what was appended durable; the directory's entry is synced by the log."""
        if self.exists:
            file = self._disk.open(self.path)
            try:
                file.sync()
            finally:
                file.close()


def overlapping(copies: Iterable[bytes], start: int, end: int) -> list[AbortedTransaction]:
    """The transactions that overlap [start, end), from copies of the indexes of successive segments."""
    return [
        AbortedTransaction(*fields[1:])
        for copy in copies
        for fields in ENTRY.iter_unpack(copy)
        if fields[3] >= start and fields[2] < end
    ]
