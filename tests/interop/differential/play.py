"""The whole script, in order."""

from __future__ import annotations

from typing import Any

from tests.interop.differential import cluster, configs, groups, records, shapes, topics
from tests.interop.differential.script import Script

SECTIONS = (
    *cluster.SECTIONS,
    *topics.SECTIONS,
    *configs.SECTIONS,
    *records.SECTIONS,
    *groups.SECTIONS,
    *shapes.SECTIONS,
)


def play(address: str, only: str = "") -> dict[str, Any]:
    """Ask everything of a broker that was just started; its transcript by step."""
    script = Script(address)
    try:
        for section in SECTIONS:
            if only in section.__name__:
                section(script)
    finally:
        script.close()
    return script.steps
