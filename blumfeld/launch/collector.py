"""The cyclic garbage collector of a serving process: it rests while the node starts, then looks at newer objects only.

Start-up makes some 35,000 objects that stay (modules, classes, tables, the metadata that was loaded); walking them
again and again while they are made took a tenth of the start, and walking them later would be a pause for nothing.
Requests are freed by reference counts: a broker under load makes hardly any garbage for the collector.
"""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 10_000
"""How many more objects there must be before the young ones are looked at. A burst of metadata makes many that stay."""
YOUNG_PER_MIDDLE = 10
MIDDLE_PER_OLD = 10


def rest() -> None:
    """Collect nothing until `resume`."""
    gc.disable()


def resume() -> None:
    """Collect from now on, but never what is there by now."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_PER_MIDDLE, MIDDLE_PER_OLD)
    gc.enable()
