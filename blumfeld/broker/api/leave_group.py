"""LeaveGroup 0–5: members leave a classic group, one (to version 2) or several (KIP-345)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply

FIRST_VERSION_WITH_SEVERAL_MEMBERS = 3


def leave_group(broker: Broker, context: Context, request: LeaveGroupRequest) -> Reply[LeaveGroupResponse]:
    """To version 2 the one member's error is the whole answer."""
    if context.api_version >= FIRST_VERSION_WITH_SEVERAL_MEMBERS:
        return broker.groups.leave_group(request)
    request.members = [LeaveGroupRequest.Member(member_id=request.member_id)]
    reply = broker.groups.leave_group(request)
    return _of_one(reply) if isinstance(reply, LeaveGroupResponse) else _of_one_later(reply)


async def _of_one_later(reply: Awaitable[LeaveGroupResponse]) -> LeaveGroupResponse:
    return _of_one(await reply)


def _of_one(response: LeaveGroupResponse) -> LeaveGroupResponse:
    error = response.error_code
    if error == ErrorCode.NONE and response.members:
        error = response.members[0].error_code
    return LeaveGroupResponse(error_code=error)
