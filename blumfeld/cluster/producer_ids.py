"""Producer ids for idempotent producers, in blocks from the controller (KIP-730).

Owns the block that this broker draws from. Invariant: an id is handed out once, here and in the cluster; what is left
of a block when the broker stops is lost, never used again. One block is asked for at a time; who waits for it in vain
is told so with the one who asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.allocate_producer_ids import AllocateProducerIdsResponse


class ProducerIds:
    """One broker's supply.

    Args:
        allocate: asks the controller for a block (AllocateProducerIds).
    """

    def __init__(self, allocate: Callable[[], Awaitable[AllocateProducerIdsResponse]]) -> None:
        self._allocate = allocate
        self._next = 0
        self._end = 0
        self._refill = asyncio.Lock()
        self._failure: Exception | None = None
        """What came of the last try to have a block."""

    def take(self) -> int | None:
        """The next id of the block at hand, None when it is used up."""
        if self._next == self._end:
            return None
        self._next += 1
        return self._next - 1

    async def _try_to_allocate(self) -> AllocateProducerIdsResponse:
        self._failure = None
        try:
            return await self._allocate()
        except Exception as error:
            self._failure = error
            raise

    async def next(self) -> int | ErrorCode:
        """An id nobody had before; an error code where the controller refuses a block."""
        while (taken := self.take()) is None:
            waits_for_another = self._refill.locked()
            async with self._refill:
                if self._next < self._end:
                    continue  # somebody who waited before us has brought a block
                if waits_for_another and self._failure is not None:
                    raise self._failure
                block = await self._try_to_allocate()
                if block.error_code != ErrorCode.NONE:
                    return ErrorCode(block.error_code)
                self._next = block.producer_id_start
                self._end = block.producer_id_start + block.producer_id_len
        return taken
