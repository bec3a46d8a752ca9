"""What a shard needs of its partition, as a Protocol: machines are tested on a log made of a list.

Owns the seam between the runtime and the data plane; `replica_log.py` is the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from blumfeld.protocol.errors import ErrorCode
    from blumfeld.protocol.primitives import Buffer, Bytes


class Appended(NamedTuple):
    """What became of a batch: where its records begin, or why there are none."""

    error: ErrorCode
    base_offset: int = -1


class ShardLog(Protocol):
    """The log of one partition that this broker leads. Nothing may be asked of it after `close`."""

    @property
    def log_start_offset(self) -> int: ...

    @property
    def log_end_offset(self) -> int: ...

    @property
    def high_watermark(self) -> int: ...

    @property
    def max_batch_bytes(self) -> int:
        """The largest batch that it takes."""
        ...

    def append(self, batch: Bytes, now_ms: int) -> Appended:
        """Append one batch as leader, to be committed by all in-sync replicas. `settle` has to follow."""
        ...

    def settle(self) -> None:
        """Let everyone know of the append; the high watermark may move within this call."""
        ...

    async def read(self, offset: int, max_bytes: int) -> Buffer:
        """Whole batches from the one that holds `offset`, at least one; empty at the end. Raises OSError."""
        ...

    def watch(self, on_commit: Callable[[], None]) -> None:
        """Call `on_commit` whenever the high watermark moves, until `close`."""
        ...

    def close(self) -> None:
        """Watch no more."""
        ...
