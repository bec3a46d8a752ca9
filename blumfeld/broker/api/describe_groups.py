"""DescribeGroups 0–6: state and members of classic groups (KIP-430 authorized operations, KIP-1043 errors)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context

_READ, _DELETE, _DESCRIBE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS = 3, 6, 8, 10, 11
ALL_OPERATIONS = sum(1 << code for code in (_READ, _DELETE, _DESCRIBE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS))
"""What may be done to a group by anybody, while there are no access rules."""


def describe_groups(broker: Broker, context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Each group as it is now, rebalances in progress included."""
    groups = broker.groups.describe_groups(request.groups, context.api_version)
    if request.include_authorized_operations:
        for group in groups:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = ALL_OPERATIONS
    return DescribeGroupsResponse(groups=groups)
