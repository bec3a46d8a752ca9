"""Threads for whatever waits for the device, so that the loop never does.

Owns a few worker threads, made when first needed. On a disk that never waits there are none: the work runs on the loop,
but later, so that callers see the same order of things.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WORKERS = 3
"""A flush, an election state and a snapshot may be on their way to the disk at once."""

Then = Callable[[Any], None]
Otherwise = Callable[[BaseException], None]


class Threads:
    """Runs blocking work.

    Args:
        volatile: the disk never waits.
        on_error: told of errors of work that has no `otherwise`.
    """

    def __init__(self, *, volatile: bool, on_error: Otherwise) -> None:
        self._volatile = volatile
        self._on_error = on_error
        self._executor: ThreadPoolExecutor | None = None

    @property
    def used(self) -> bool:
        """Whether any thread was made."""
        return self._executor is not None

    def run(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        then: Then | None = None,
        otherwise: Otherwise | None = None,
    ) -> None:
        """Run `work`; then call `then` with its result, or `otherwise` with its error: on the loop, never at once."""
        loop = asyncio.get_running_loop()
        if self._volatile:
            loop.call_soon(self._run_here, loop, work, arguments, then, otherwise)
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="raft")
        future = loop.run_in_executor(self._executor, work, *arguments)
        future.add_done_callback(lambda done: self._done(done, then, otherwise))

    def result_of(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Run `work`, for a caller that awaits it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def then(result: Any) -> None:
            if not future.done():
                future.set_result(result)

        def otherwise(error: BaseException) -> None:
            if not future.done():
                future.set_exception(error)

        self.run(work, *arguments, then=then, otherwise=otherwise)
        return future

    async def close(self) -> None:
        """Let what is under way be finished."""
        if self._executor is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)

    def _run_here(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[..., Any],
        arguments: tuple[Any, ...],
        then: Then | None,
        otherwise: Otherwise | None,
    ) -> None:
        future: asyncio.Future[Any] = loop.create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001  it goes where a thread's would go
            future.set_exception(error)
        self._done(future, then, otherwise)

    def _done(self, future: asyncio.Future[Any], then: Then | None, otherwise: Otherwise | None) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            (otherwise or self._on_error)(error)
        elif then is not None:
            then(future.result())
