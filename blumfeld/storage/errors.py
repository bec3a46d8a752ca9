"""What opening and keeping logs can fail with.

Owns the exceptions that leave `storage/`; refusals of appends and reads are error codes in their results instead, and a
device's errors stay `OSError`. `WouldWait` never leaves it.
"""

from __future__ import annotations


class StorageError(Exception):
    """A directory or a log cannot be used; the text says which, why, and what to do."""


class CorruptLog(StorageError):
    """Data that had been flushed are damaged or gone: the log cannot be served."""


class WouldWait(Exception):
    """The event loop cannot have it at once: it is not in memory, or too much. A thread can."""
