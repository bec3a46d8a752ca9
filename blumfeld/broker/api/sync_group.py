"""SyncGroup 0–5: a member's assignment (KIP-345 static members, KIP-559 protocol type and name)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.coordinator.group.rebalance import refused_sync
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply
    from blumfeld.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

FIRST_VERSION_WITH_PROTOCOL = 5


def sync_group(broker: Broker, context: Context, request: SyncGroupRequest) -> Reply[SyncGroupResponse]:
    """Parked until the leader has assigned. Type and name of the protocol are required where there are fields."""
    if context.api_version >= FIRST_VERSION_WITH_PROTOCOL and None in (request.protocol_type, request.protocol_name):
        return refused_sync(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    return broker.groups.sync_group(request)
