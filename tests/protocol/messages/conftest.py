"""How many examples the tests of messages try."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

_Test = TypeVar("_Test")

EXAMPLES = int(os.environ.get("MESSAGE_EXAMPLES", "4"))
"""For each message and version: there are some 660 of them, so few go far. MESSAGE_EXAMPLES=200 is a long run."""


def sized(test: _Test) -> _Test:
    """A hypothesis test of that size."""
    limits: Any = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    sized_test: _Test = limits(test)
    return sized_test
