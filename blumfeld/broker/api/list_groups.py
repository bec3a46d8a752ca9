"""ListGroups 0–5: the groups that this broker coordinates (KIP-518 by state, KIP-848 by type)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context
    from blumfeld.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse


def list_groups(broker: Broker, context: Context, request: ListGroupsRequest) -> ListGroupsResponse:
    """All groups that pass the filters; refused while a partition of groups is being loaded."""
    return broker.groups.list_groups(request.states_filter, request.types_filter)
