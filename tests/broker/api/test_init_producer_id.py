"""InitProducerId: fresh ids for idempotent producers, and no transactions yet."""

from __future__ import annotations

from typing import Any, cast

import pytest

from blumfeld.broker.api.init_producer_id import init_producer_id
from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from tests.cluster.world import World, context


@pytest.fixture
def world() -> World:
    return World(2)


class Ids:
    """The channel's supply of ids."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)

    async def next_producer_id(self) -> Any:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def init(world: World, ids: Ids, **fields: Any) -> InitProducerIdResponse:
    world[1].broker.controller = cast(Any, ids)
    request = InitProducerIdRequest(**{"transactional_id": None, "transaction_timeout_ms": 0, **fields})
    response = init_producer_id(world[1].broker, context(ApiKey.INIT_PRODUCER_ID, 5), request)
    return response if isinstance(response, InitProducerIdResponse) else await response


async def test_an_idempotent_producer_gets_a_fresh_id(world: World) -> None:
    response = await init(world, Ids(1000))
    assert (response.error_code, response.producer_id, response.producer_epoch) == (0, 1000, 0)
    response = await init(world, Ids(1001), producer_id=1000, producer_epoch=3)
    assert (response.producer_id, response.producer_epoch) == (1001, 0)


async def test_ids_that_cannot_be_had_now_are_asked_for_again(world: World) -> None:
    for outcome_ in (ControllerUnavailable("away"), ErrorCode.STALE_BROKER_EPOCH):
        response = await init(world, Ids(outcome_))
        assert response.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        assert (response.producer_id, response.producer_epoch) == (-1, -1)


async def test_transactional_ids_are_refused_for_good(world: World) -> None:
    assert (await init(world, Ids(), transactional_id="x")).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert (await init(world, Ids(), transactional_id="")).error_code == ErrorCode.INVALID_REQUEST
    assert (await init(world, Ids(), producer_id=7)).error_code == ErrorCode.INVALID_REQUEST
