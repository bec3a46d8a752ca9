"""DescribeGroups in every version."""

from __future__ import annotations

import pytest

from blumfeld.broker.api.describe_groups import ALL_OPERATIONS
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_groups import DescribeGroupsRequest
from tests.coordinator.brokers import Brokers


@pytest.mark.parametrize("version", range(7))
async def test_a_stable_group_and_an_unknown_one(version: int) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g", instance_id="i")
        request = DescribeGroupsRequest(groups=["g", "ghost"], include_authorized_operations=version >= 3)
        known, unknown = brokers.start(1, request, version).groups
        assert (known.error_code, known.group_state, known.protocol_data) == (ErrorCode.NONE, "Stable", "range")
        (shown,) = known.members
        assert (shown.member_id, shown.member_assignment) == (member.member_id, b"all")
        assert shown.group_instance_id == ("i" if version >= 4 else None)
        assert known.authorized_operations == (ALL_OPERATIONS if version >= 3 else -(2**31))
        assert unknown.group_state == "Dead"
        assert unknown.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else ErrorCode.NONE)


async def test_without_being_asked_no_operations_are_told() -> None:
    async with Brokers() as brokers:
        await brokers.joined("g")
        (group,) = brokers.start(1, DescribeGroupsRequest(groups=["g"]), 6).groups
        assert group.authorized_operations == -(2**31)


async def test_another_broker_says_it_is_not_the_coordinator() -> None:
    async with Brokers(2) as brokers:
        (group,) = brokers.start(2, DescribeGroupsRequest(groups=["g"]), 6).groups
        assert (group.error_code, group.group_state) == (ErrorCode.NOT_COORDINATOR, "")
