"""The wiring of a broker's replicas: the ISR turn."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from blumfeld.cluster.data_plane import DataPlane
from blumfeld.cluster.waiting import Purgatory
from blumfeld.config.sources import Config, Layer
from blumfeld.env.environment import Env


async def test_an_isr_turn_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    def fail() -> None:
        nonlocal turns
        turns += 1
        raise LookupError("unheard of")

    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure["exception"]))
    env = Env.in_memory()
    config = Config([Layer("test", {"replica.lag.time.max.ms": "10"})])
    nobody = cast(Any, None)
    plane = DataPlane(env, config, 1, nobody, Purgatory(env.clock), nobody, "PLAINTEXT")
    monkeypatch.setattr(plane.replicas, "shrink_isrs", fail)
    plane.start()
    async with asyncio.timeout(3):
        while turns < 2:
            await asyncio.sleep(0.001)
    await plane.stop()
    assert all(isinstance(failure, LookupError) for failure in failures)
