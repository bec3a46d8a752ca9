"""SyncGroup: shapes by version, and KIP-559's mandatory fields."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.sync_group import SyncGroupRequest
from tests.coordinator.brokers import Brokers


def sync(member_id: str, **fields: Any) -> SyncGroupRequest:
    given: dict[str, Any] = {"group_id": "g", "generation_id": 1, "member_id": member_id, "assignments": [], **fields}
    return SyncGroupRequest(**given)


@pytest.mark.parametrize("version", range(6))
async def test_a_member_gets_its_assignment_in_every_version(version: int) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g")
        fields = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
        response = await brokers.call(1, sync(member.member_id, **fields), version)
        assert (response.error_code, response.assignment) == (ErrorCode.NONE, b"all")
        assert response.protocol_name == ("range" if version >= 5 else None)


@pytest.mark.parametrize("fields", [{}, {"protocol_type": "consumer"}, {"protocol_name": "range"}])
async def test_from_version_5_on_type_and_name_are_required(fields: dict[str, str]) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g")
        response = await brokers.call(1, sync(member.member_id, **fields), 5)
        assert response.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"group_id": "ghost"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation_id": 7}, ErrorCode.ILLEGAL_GENERATION),
    ],
)
async def test_what_does_not_fit_is_refused(fields: dict[str, Any], error: ErrorCode) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g")
        assert (await brokers.call(1, sync(member.member_id, **fields), 3)).error_code == error
