"""JoinGroup 0–9: enter a classic group (KIP-394 member ids, KIP-345 static members, KIP-814 skipped assignments)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.coordinator.group.member import Client
from blumfeld.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply

FIRST_VERSION_WITH_NULL_PROTOCOL = 7


def join_group(broker: Broker, context: Context, request: JoinGroupRequest) -> Reply[JoinGroupResponse]:
    """Parked until the group's next generation is taken. Members are shown under their address as Java writes it."""
    client = Client(context.client_id, f"/{context.client_host}", context.connection_id)
    reply = broker.groups.join_group(request, context.api_version, client)
    if isinstance(reply, JoinGroupResponse):
        return _shaped(reply, context.api_version)
    return reply if context.api_version >= FIRST_VERSION_WITH_NULL_PROTOCOL else _shaped_later(reply, context)


async def _shaped_later(reply: Awaitable[JoinGroupResponse], context: Context) -> JoinGroupResponse:
    return _shaped(await reply, context.api_version)


def _shaped(response: JoinGroupResponse, version: int) -> JoinGroupResponse:
    """Before version 7 no protocol is an empty one."""
    if version < FIRST_VERSION_WITH_NULL_PROTOCOL and response.protocol_name is None:
        response.protocol_name = ""
    return response
