"""The interpreter of a serving process: when it collects garbage, and how threads take turns.

The collector rests while the node starts, then looks at newer objects only. Start-up makes some 35,000 objects that
stay (modules, classes, tables, the metadata that was loaded); walking them again and again while they are made took a
tenth of the start, and walking them later would be a pause for nothing. Requests are freed by reference counts: a
broker under load makes hardly any garbage for the collector.

The event loop shares the interpreter with threads that compute (compaction, recovery, look-ups by time): it gets it
back within a tenth of a millisecond, where Python's own setting makes it wait for five.
"""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.0001
"""How long a thread that waits for the interpreter leaves it to another."""

YOUNG_OBJECTS = 10_000
"""How many more objects there must be before the young ones are looked at. A burst of metadata makes many that stay."""
YOUNG_PER_MIDDLE = 10
MIDDLE_PER_OLD = 10


def take_short_turns() -> None:
    """Let no thread keep the interpreter from another for long."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def prepare() -> None:
    """Collect nothing until `resume`; short turns from now on."""
    gc.disable()
    take_short_turns()


def resume() -> None:
    """Collect from now on, but never what is there by now."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_PER_MIDDLE, MIDDLE_PER_OLD)
    gc.enable()
