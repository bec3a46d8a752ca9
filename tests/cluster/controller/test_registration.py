"""A controller that is not active announces itself to the one that is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blumfeld.cluster.controller import registration as module
from blumfeld.cluster.controller.registration import ControllerRegistrar, controller_registration
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES
from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.cluster.image.cluster import Endpoint
from blumfeld.cluster.image.delta import MetadataDelta
from tests.cluster.controller.story import Controller, uuid


class Story:
    """The registrar of node 8; the active controller is node 9's."""

    def __init__(self) -> None:
        self.controller = Controller(voter_ids=(8, 9))
        self.sent = 0
        self.failures = 0
        self.active = False
        request = controller_registration(8, uuid(8), [Endpoint("CONTROLLER", "localhost", 1)], SUPPORTED_FEATURES)
        self.registrar = ControllerRegistrar(self, request, is_active=lambda: self.active)

    async def send(self, request: Any, *, timeout_ms: float) -> Any:
        self.sent += 1
        if self.failures:
            self.failures -= 1
            raise ControllerUnavailable("nobody leads")
        return self.controller.send(request)

    def publish(self) -> None:
        self.registrar(MetadataDelta(self.controller.image), self.controller.image)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.001)


async def test_it_is_sent_once_until_the_metadata_has_it() -> None:
    story = Story()
    for _ in range(3):
        story.publish()
    await story.settle()
    story.publish()
    assert story.sent == 1
    assert story.controller.image.cluster.controllers[8].incarnation_id == uuid(8)
    await story.registrar.stop()


async def test_it_is_sent_again_while_nobody_takes_it() -> None:
    story = Story()
    story.failures = 2
    story.publish()
    await story.settle()
    assert story.sent == 3
    await story.registrar.stop()


async def test_the_active_controller_needs_no_sending() -> None:
    story = Story()
    story.active = True
    story.publish()
    await story.settle()
    assert story.sent == 0
    await story.registrar.stop()


async def test_stopping_ends_the_trying() -> None:
    story = Story()
    story.failures = 10**6
    story.publish()
    await story.settle()
    await story.registrar.stop()
    sent = story.sent
    await story.settle()
    assert story.sent == sent
