"""LeaveGroup: one member, or several."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
from tests.coordinator.brokers import Brokers

Member = LeaveGroupRequest.Member


@pytest.mark.parametrize("version", range(3))
async def test_one_member_leaves(version: int) -> None:
    async with Brokers() as brokers:
        member = await brokers.joined("g")
        request = LeaveGroupRequest(group_id="g", member_id=member.member_id)
        assert (await brokers.call(1, request, version)).error_code == ErrorCode.NONE
        assert (await brokers.call(1, request, version)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
        ghost = LeaveGroupRequest(group_id="ghost", member_id=member.member_id)
        assert (await brokers.call(1, ghost, version)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(3, 6))
async def test_several_members_leave(version: int) -> None:
    async with Brokers() as brokers:
        await brokers.joined("g", instance_id="i")
        request = LeaveGroupRequest(
            group_id="g", members=[Member(member_id="", group_instance_id="i"), Member(member_id="ghost")]
        )
        response = await brokers.call(1, request, version)
        assert response.error_code == ErrorCode.NONE
        assert [(m.group_instance_id, m.error_code) for m in response.members] == [
            ("i", ErrorCode.NONE),
            (None, ErrorCode.UNKNOWN_MEMBER_ID),
        ]


async def test_an_empty_group_id_and_a_wrong_broker_are_errors_of_the_whole() -> None:
    async with Brokers(2) as brokers:
        nameless = LeaveGroupRequest(group_id="", members=[Member(member_id="m")])
        assert (await brokers.call(1, nameless, 5)).error_code == ErrorCode.INVALID_GROUP_ID
        request = LeaveGroupRequest(group_id="g", members=[Member(member_id="m")])
        response = await brokers.call(2, request, 5)
        assert (response.error_code, response.members) == (ErrorCode.NOT_COORDINATOR, [])


async def test_the_last_leave_waits_until_it_is_replicated() -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        import asyncio

        joining = asyncio.ensure_future(brokers.joined("g"))
        while not joining.done():
            await asyncio.sleep(0)
            brokers.replicate(1)
        request = LeaveGroupRequest(group_id="g", member_id=joining.result().member_id)
        leaving = brokers.start(1, request, 1)
        await asyncio.sleep(0)
        assert not leaving.done()
        brokers.replicate()
        assert (await leaving).error_code == ErrorCode.NONE
