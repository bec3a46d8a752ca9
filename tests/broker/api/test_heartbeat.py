"""Heartbeat in every version."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
from tests.coordinator.brokers import Brokers


@pytest.mark.parametrize("version", range(5))
async def test_a_member_lives(version: int) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g")
        for group_id, generation, error in (
            ("g", 1, ErrorCode.NONE),
            ("g", 2, ErrorCode.ILLEGAL_GENERATION),
            ("ghost", 1, ErrorCode.UNKNOWN_MEMBER_ID),
            ("", 1, ErrorCode.INVALID_GROUP_ID),
        ):
            beat = HeartbeatRequest(group_id=group_id, generation_id=generation, member_id=member.member_id)
            assert brokers.start(1, beat, version).error_code == error, "answered at once"


async def test_another_broker_says_it_is_not_the_coordinator() -> None:
    async with Brokers(2) as brokers:
        beat = HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
        assert brokers.start(2, beat, 4).error_code == ErrorCode.NOT_COORDINATOR
