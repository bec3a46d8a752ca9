"""JoinGroup: shapes by version, and the checks that need no group."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from tests.coordinator.brokers import Brokers


def join(**fields: Any) -> JoinGroupRequest:
    given: dict[str, Any] = {
        "group_id": "g",
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 60_000,
        "member_id": "",
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequest.Protocol(name="range", metadata=b"m")],
        **fields,
    }
    return JoinGroupRequest(**given)


@pytest.mark.parametrize("version", range(10))
async def test_a_consumer_joins_in_every_version(version: int) -> None:
    async with Brokers() as brokers:
        response: JoinGroupResponse = await brokers.call(1, join(), version)
        if version >= 4:
            assert response.error_code == ErrorCode.MEMBER_ID_REQUIRED
            assert response.protocol_name == ("" if version < 7 else None)
            response = await brokers.call(1, join(member_id=response.member_id), version)
        assert (response.error_code, response.generation_id, response.protocol_name) == (0, 1, "range")
        assert response.protocol_type == ("consumer" if version >= 7 else None)
        assert response.leader == response.member_id
        assert [(m.member_id, m.metadata) for m in response.members] == [(response.member_id, b"m")]


@pytest.mark.parametrize("version", [0, 9])
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_timeout_ms": 5_999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_timeout_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_timeout_ms": -(2**31)}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"member_id": "ghost"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"protocols": []}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
async def test_what_does_not_fit_is_refused(version: int, fields: dict[str, Any], error: ErrorCode) -> None:
    async with Brokers() as brokers:
        response = await brokers.call(1, join(**fields), version)
        assert response.error_code == error
        assert response.member_id == fields.get("member_id", "")
        assert response.generation_id == -1


@pytest.mark.parametrize("session_timeout_ms", [6_000, 1_800_000])
async def test_the_limits_of_the_session_are_allowed(session_timeout_ms: int) -> None:
    async with Brokers() as brokers:
        response = await brokers.call(1, join(session_timeout_ms=session_timeout_ms), 9)
        assert response.error_code == ErrorCode.MEMBER_ID_REQUIRED


async def test_members_are_shown_with_their_client() -> None:
    async with Brokers() as brokers:
        await brokers.joined("g")
        (member,) = brokers.groups[1].describe_groups(["g"], 6)[0].members
        assert (member.client_id, member.client_host) == ("client", "/127.0.0.1")
        assert member.member_id.startswith("client-")


async def test_another_broker_says_it_is_not_the_coordinator() -> None:
    async with Brokers(2) as brokers:
        assert (await brokers.call(2, join(), 9)).error_code == ErrorCode.NOT_COORDINATOR
        assert (await brokers.call(2, join(), 0)).error_code == ErrorCode.NOT_COORDINATOR


async def test_a_join_waits_for_the_others_in_old_versions_too() -> None:
    async with Brokers() as brokers:
        first = await brokers.call(1, join(), 2)
        second = brokers.start(1, join(), 2)
        again = await brokers.call(1, join(member_id=first.member_id), 2)
        response = await second
        assert (again.generation_id, response.generation_id) == (2, 2)
        assert response.protocol_name == "range"
