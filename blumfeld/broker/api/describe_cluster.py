"""DescribeCluster 0–2: brokers, or asked of a controller listener, controllers (KIP-700, KIP-919, KIP-1073)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blumfeld.broker.addresses import Addresses
from blumfeld.broker.api.metadata import controller_id
from blumfeld.broker.partitions_view import CLUSTER_OPERATIONS, NO_OPERATIONS_ASKED
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Context, Member

BROKERS: Final = 1
CONTROLLERS: Final = 2
_TYPE_NAMES: Final = {BROKERS: "BROKER", CONTROLLERS: "CONTROLLER"}

_Node = DescribeClusterResponse.Broker


def describe_cluster(member: Member, context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """Describe the nodes of the kind that this listener belongs to."""
    controller_listeners = {name.upper() for name in member.config.list("controller.listener.names")}
    own_type = CONTROLLERS if context.listener in controller_listeners else BROKERS
    refused = _why_not(member, context, request.endpoint_type, own_type)
    if refused is not None:
        return refused
    if own_type == CONTROLLERS:
        nodes = _controllers(member, context)
        leader = member.controller.leader_id
        controller = -1 if leader is None or leader not in {node.broker_id for node in nodes} else leader
    else:
        nodes = _brokers(member, context, request.include_fenced_brokers)
        controller = controller_id(member, Addresses(member, context).alive())
    asked = request.include_cluster_authorized_operations
    return DescribeClusterResponse(
        error_code=ErrorCode.NONE,
        endpoint_type=own_type,
        cluster_id=member.cluster_id,
        controller_id=controller,
        brokers=nodes,
        cluster_authorized_operations=CLUSTER_OPERATIONS if asked else NO_OPERATIONS_ASKED,
    )


def _why_not(member: Member, context: Context, wanted: int, own_type: int) -> DescribeClusterResponse | None:
    if wanted == own_type:
        return None
    if wanted not in _TYPE_NAMES:
        code, message = ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {wanted}"
    else:
        code = ErrorCode.MISMATCHED_ENDPOINT_TYPE
        message = (
            f"The request was sent to an endpoint of type {_TYPE_NAMES[own_type]}, but we wanted an endpoint of type"
            f" {_TYPE_NAMES[wanted]}"
        )
    if context.api_version == 0:
        code = ErrorCode.INVALID_REQUEST
    return DescribeClusterResponse(error_code=code, error_message=message, cluster_id=member.cluster_id, brokers=[])


def _brokers(member: Member, context: Context, fenced_too: bool) -> list[_Node]:
    addresses = Addresses(member, context)
    nodes = []
    for _, registration in sorted(member.image.cluster.brokers.items()):
        address = addresses.of(registration)
        if address is not None and (fenced_too or not registration.fenced):
            nodes.append(
                _Node(
                    broker_id=address.node_id,
                    host=address.host,
                    port=address.port,
                    rack=address.rack,
                    is_fenced=registration.fenced,
                )
            )
    return nodes


def _controllers(member: Member, context: Context) -> list[_Node]:
    nodes = []
    for controller_id_, registration in sorted(member.image.cluster.controllers.items()):
        endpoint = registration.listeners.get(context.listener)
        if endpoint is not None:
            nodes.append(_Node(broker_id=controller_id_, host=endpoint.host, port=endpoint.port))
    return nodes
