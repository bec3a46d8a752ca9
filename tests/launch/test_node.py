"""One node in this process: what it does beside serving."""

from __future__ import annotations

import asyncio

import pytest

from blumfeld.config.sources import load
from blumfeld.launch import node as launch
from blumfeld.launch.node import Node
from blumfeld.launch.plan import Plan
from blumfeld.storage.manager import LogManager


async def test_a_turn_of_the_logs_that_fails_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    def turn(self: LogManager, now_ms: int) -> None:
        turns.append(now_ms)
        assert len(turns) != 2, "a defect"

    monkeypatch.setattr(LogManager, "turn", turn)
    monkeypatch.setattr(launch, "LOG_TURN_S", 0.01)
    plan = Plan.make(profile="test")
    node = Node(plan, 1, load(profile="test", planned=plan.properties(1)), lambda what: None)
    await node.start()
    async with asyncio.timeout(10):
        while len(turns) < 4:
            await asyncio.sleep(0.01)
    await node.stop()
