"""The foreground of the terminal, for this process and its children alone.

Whoever started us from a shell (make) is in the foreground with us, and would be interrupted by Ctrl-C too: its exit
code would be that of an interruption, though we stop cleanly. In a process group of our own, only we are told.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def own_foreground() -> Iterator[None]:
    """Keep the terminal's foreground within; without a terminal, or in its background, nothing changes."""
    terminal = sys.stdin.fileno()
    before = _take(terminal)
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):  # the terminal may be gone
                os.tcsetpgrp(terminal, before)


def _take(terminal: int) -> int | None:
    """The process group that was in the foreground; None where nothing was taken from it."""
    if not hasattr(os, "tcgetpgrp"):
        return None
    try:
        before = os.tcgetpgrp(terminal)
        if before != os.getpgrp():
            return None
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # no shell would notice that we stopped, and wake us
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
    except OSError:
        return None
    return before
