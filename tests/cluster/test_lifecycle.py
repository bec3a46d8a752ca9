"""A broker's life: registered, caught up, unfenced, released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from blumfeld.cluster.controller_channel import ControllerUnavailable, NoController
from blumfeld.cluster.image.cluster import Endpoint, VersionRange
from blumfeld.cluster.lifecycle import BrokerLifecycle, Identity, RegistrationRefused, State
from blumfeld.config.sources import Config, Layer
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse

EPOCH = 10


class Controller:
    """The channel, with a controller behind it that does what the test says."""

    def __init__(self) -> None:
        self.registrations: list[BrokerRegistrationRequest] = []
        self.heartbeats: list[BrokerHeartbeatRequest] = []
        self.refusals: list[ErrorCode] = []
        self.unreachable = 0
        self.gone = False
        self.heartbeat_errors: list[ErrorCode] = []
        self.defect: Exception | None = None
        self.leads = 0
        """How many heartbeats it takes to move the broker's leaderships away."""

    async def send(self, request: Any, *, timeout_ms: float, while_possible: bool = False) -> Any:
        await asyncio.sleep(0)
        if self.gone and while_possible:
            raise NoController("most of them are gone")
        if self.unreachable:
            self.unreachable -= 1
            raise ControllerUnavailable("nobody there")
        if isinstance(request, BrokerRegistrationRequest):
            self.registrations.append(request)
            error = self.refusals.pop(0) if self.refusals else ErrorCode.NONE
            return BrokerRegistrationResponse(error_code=error, broker_epoch=EPOCH if not error else -1)
        assert isinstance(request, BrokerHeartbeatRequest)
        self.heartbeats.append(request)
        if self.defect is not None:
            raise self.defect
        if self.heartbeat_errors:
            return BrokerHeartbeatResponse(error_code=self.heartbeat_errors.pop(0), should_shut_down=False)
        if request.want_shut_down:
            self.leads -= 1
        caught_up = request.current_metadata_offset >= EPOCH
        return BrokerHeartbeatResponse(
            error_code=0,
            is_caught_up=caught_up,
            is_fenced=not caught_up or request.want_fence,
            should_shut_down=request.want_shut_down and self.leads <= 0,
        )


class Life:
    """A lifecycle, its controller, and the broker's metadata offset."""

    def __init__(self, **properties: str) -> None:
        self.controller = Controller()
        self.offset = -1
        self.epochs: list[int] = []
        identity = Identity(
            3,
            "cluster",
            [Endpoint("PLAINTEXT", "localhost", 9092)],
            {"metadata.version": VersionRange(1, 25)},
            [b"d" * 16],
            "rack-a",
            77,
        )
        options = {"broker.heartbeat.interval.ms": "40", "initial.broker.registration.timeout.ms": "2000", **properties}
        self.lifecycle = BrokerLifecycle(
            Env.in_memory(),
            identity,
            cast(Any, self.controller),
            Config([Layer("test", options)]),
            metadata_offset=lambda: self.offset,
            on_registered=self.epochs.append,
        )

    def apply(self, offset: int) -> None:
        self.offset = offset
        self.lifecycle.metadata_applied(offset)


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    life = Life()
    yield life
    await life.lifecycle.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.001)


async def test_it_registers_with_all_it_is(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: bool(life.controller.registrations))
    (request,) = life.controller.registrations
    assert (request.broker_id, request.cluster_id, request.rack) == (3, "cluster", "rack-a")
    assert request.incarnation_id == life.lifecycle.incarnation_id
    assert [(e.name, e.host, e.port) for e in request.listeners] == [("PLAINTEXT", "localhost", 9092)]
    assert [(f.name, f.max_supported_version) for f in request.features] == [("metadata.version", 25)]
    assert (request.log_dirs, request.previous_broker_epoch) == ([b"d" * 16], 77)
    await until(lambda: life.epochs == [EPOCH])


async def test_it_is_caught_up_when_its_own_registration_is_applied(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH - 1)
    await asyncio.sleep(0.01)
    assert life.controller.heartbeats == [], "nothing to say yet"
    life.apply(EPOCH)
    await asyncio.wait_for(life.lifecycle.caught_up(), 2)
    assert life.lifecycle.state is State.RECOVERY
    assert life.controller.heartbeats[0].want_fence


async def test_a_defect_does_not_end_its_heartbeats(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.controller.defect = LookupError("unheard of")
    life.apply(EPOCH)
    await until(lambda: len(life.controller.heartbeats) == 2)
    life.controller.defect = None
    await asyncio.wait_for(life.lifecycle.caught_up(), 2)
    assert "unheard of" in caplog.text


async def test_it_asks_to_be_unfenced_when_it_is_ready(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    await asyncio.wait_for(life.lifecycle.caught_up(), 2)
    assert life.lifecycle.is_fenced
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    assert life.lifecycle.state is State.RUNNING
    assert not life.controller.heartbeats[-1].want_fence


async def test_heartbeats_go_on_and_tell_the_metadata_offset(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.apply(EPOCH + 5)
    count = len(life.controller.heartbeats)
    await until(lambda: len(life.controller.heartbeats) >= count + 2)
    assert life.controller.heartbeats[-1].current_metadata_offset == EPOCH + 5
    assert life.controller.heartbeats[-1].broker_epoch == EPOCH


async def test_an_earlier_incarnation_is_waited_out(life: Life) -> None:
    life.controller.refusals = [ErrorCode.DUPLICATE_BROKER_REGISTRATION] * 2
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    assert len(life.controller.registrations) == 3
    assert len({request.incarnation_id for request in life.controller.registrations}) == 1


@pytest.mark.parametrize("error", [ErrorCode.INCONSISTENT_CLUSTER_ID, ErrorCode.UNSUPPORTED_VERSION])
async def test_a_refusal_for_good_is_told_to_who_waits(life: Life, error: ErrorCode) -> None:
    life.controller.refusals = [error]
    life.lifecycle.start()
    with pytest.raises(RegistrationRefused, match=error.name):
        await asyncio.wait_for(life.lifecycle.caught_up(), 2)


async def test_registration_gives_up_in_the_end() -> None:
    life = Life(**{"initial.broker.registration.timeout.ms": "100"})
    life.controller.refusals = [ErrorCode.DUPLICATE_BROKER_REGISTRATION] * 100
    life.lifecycle.start()
    with pytest.raises(ControllerUnavailable, match=r"initial\.broker\.registration"):
        await asyncio.wait_for(life.lifecycle.caught_up(), 2)


async def test_heartbeats_survive_missing_controllers_and_refusals(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.controller.unreachable = 3
    life.controller.heartbeat_errors = [ErrorCode.STALE_BROKER_EPOCH]
    count = len(life.controller.heartbeats)
    await until(lambda: len(life.controller.heartbeats) >= count + 3)


async def test_a_broker_that_the_controller_does_not_know_registers_again(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.controller.heartbeat_errors = [ErrorCode.STALE_BROKER_EPOCH]
    await until(lambda: len(life.controller.registrations) == 2)
    first, second = life.controller.registrations
    assert first.incarnation_id == second.incarnation_id
    await until(lambda: life.epochs == [EPOCH, EPOCH])


async def test_a_broker_that_serves_does_not_stop_because_it_cannot_register(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.controller.refusals = [ErrorCode.INCONSISTENT_CLUSTER_ID]
    life.controller.heartbeat_errors = [ErrorCode.BROKER_ID_NOT_REGISTERED] * 2
    await until(lambda: life.epochs == [EPOCH, EPOCH])


async def test_a_fenced_broker_says_at_once_that_it_caught_up_again(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.offset = EPOCH - 1  # the controller sees us behind: fenced
    await until(lambda: life.lifecycle.is_fenced)
    life.apply(EPOCH + 1)
    await until(lambda: not life.lifecycle.is_fenced)


async def test_controlled_shutdown_waits_until_the_leaderships_are_gone(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    life.controller.leads = 3
    assert await life.lifecycle.controlled_shutdown(2.0)
    assert sum(request.want_shut_down for request in life.controller.heartbeats) == 3
    assert life.lifecycle.state is State.SHUTTING_DOWN


async def test_controlled_shutdown_does_not_wait_for_ever(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.controller.leads = 10_000
    assert not await life.lifecycle.controlled_shutdown(0.1)


async def test_nobody_is_waited_for_when_there_can_be_no_controller(life: Life) -> None:
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.controller.gone = True
    assert not await asyncio.wait_for(life.lifecycle.controlled_shutdown(30.0), 2)


async def test_what_somebody_waits_for_is_reported_at_once() -> None:
    life = Life(**{"broker.heartbeat.interval.ms": "60000"})
    life.lifecycle.start()
    await until(lambda: life.epochs == [EPOCH])
    life.apply(EPOCH)
    life.lifecycle.ready()
    await asyncio.wait_for(life.lifecycle.unfenced(), 2)
    count = len(life.controller.heartbeats)
    life.offset = EPOCH + 5
    life.lifecycle.hurry()
    await until(lambda: len(life.controller.heartbeats) > count)
    assert life.controller.heartbeats[-1].current_metadata_offset == EPOCH + 5
    await life.lifecycle.stop()


async def test_who_never_registered_is_not_missed(life: Life) -> None:
    assert not await life.lifecycle.controlled_shutdown(5.0)
