"""Directory ids with a meaning of their own (KIP-858). No directory is given an id below RESERVED_DIRECTORIES."""

from __future__ import annotations

from typing import Final

UNASSIGNED_DIRECTORY: Final = bytes(16)
"""It is not known yet in which directory the replica lies."""
LOST_DIRECTORY: Final = bytes(15) + b"\x01"
"""The replica's directory is offline; which one it was does not matter."""
MIGRATING_DIRECTORY: Final = bytes(15) + b"\x02"
"""The broker registered before brokers named their directories."""
RESERVED_DIRECTORIES: Final = 100
