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


async def test_a_node_that_stopped_leaves_no_connection_to_the_others() -> None:
    plan = Plan.make(brokers=3, profile="test")
    nodes = [
        Node(plan, node_id, load(profile="test", brokers=3, planned=plan.properties(node_id)), lambda what: None)
        for node_id in (1, 2, 3)
    ]
    await asyncio.gather(*(node.start() for node in nodes))
    leaving = nodes[2]
    links = [*leaving._links._links.values(), leaving._channel._link]
    assert any(link is not None and link.connected for link in links)
    await leaving.stop()
    assert not any(link is not None and link.connected for link in links)
    await asyncio.gather(*(node.stop() for node in nodes))
