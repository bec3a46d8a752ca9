"""Brokers for tests that need the whole coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.coordinator.brokers import Brokers


@pytest.fixture
async def make_brokers() -> AsyncIterator[Callable[..., Brokers]]:
    """`make_brokers(2, replicas=(1, 2))`; they are stopped at the end."""
    made: list[Brokers] = []

    def make(*args: Any, **kwargs: Any) -> Brokers:
        made.append(Brokers(*args, **kwargs))
        return made[-1]

    yield make
    for brokers in made:
        await brokers.stop()
