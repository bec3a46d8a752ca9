"""A bar for work that takes longer than a moment, on a terminal; nothing elsewhere.

Owns when a bar appears, and what it shows. It is drawn on stderr, so that output can go into a file or pipe, and it is
gone when the work is done. Nothing of it is imported before it appears.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

AFTER_S = 0.5
"""Work that ends before is not worth a bar."""
EVERY_S = 0.1
"""How often a bar moves: drawing it is dearer than most pieces of work."""
BYTES = "bytes"


class Bar:
    """One piece of work, as a context.

    Args:
        what: what is being done, as the bar says it.
        total: how much there is to do; None where that is not known.
        unit: what is counted; `BYTES` are shown as KB, MB, ….
        wanted: False: never a bar (as where output goes to the same terminal).
        clock: monotonic seconds.
        console: where to draw; stderr, where that is a terminal, if left out.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str,
        *,
        wanted: bool = True,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._what = what
        self._total = total
        self._unit = unit
        self._wanted = wanted and (console is not None or sys.stderr.isatty())
        self._clock = clock
        self._console = console
        self._due = clock() + AFTER_S
        self._shown: tuple[Progress, TaskID] | None = None
        self.done = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self.done += by
        if not self._wanted or (now := self._clock()) < self._due:
            return
        self._due = now + EVERY_S
        if self._shown is None:
            self._shown = self._show()
        progress, task = self._shown
        progress.update(task, completed=self.done)

    def _show(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        console = self._console or Console(stderr=True)
        progress = Progress(*self._columns(), console=console, transient=True)
        task = progress.add_task(self._what, total=self._total)
        progress.start()
        return progress, task

    def _columns(self) -> list[ProgressColumn]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        counts: list[ProgressColumn]
        if self._unit == BYTES:
            counts = [DownloadColumn()]
        elif self._total is None:
            counts = [TextColumn("{task.completed:,} " + self._unit)]
        else:
            counts = [MofNCompleteColumn(), TextColumn(self._unit)]
        left = TimeElapsedColumn() if self._total is None else TimeRemainingColumn()
        return [TextColumn("{task.description}"), BarColumn(), *counts, left]
