"""What a controller listener serves, as a dispatcher's table: deciders, the raft replica, readings, envelopes.

Owns the way from a row of `cluster/controller/table.py` to a handler. Knows no API's meaning. Client requests that
reach a controller directly (KIP-919) and those that a broker passed on in an Envelope (KIP-590) end in the same
deciders.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blumfeld.broker.api.api_versions import add_features, announce
from blumfeld.broker.dispatch import Api
from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.envelope import open_envelope, seal
from blumfeld.cluster.controller.refusals import fitted
from blumfeld.cluster.controller.table import SERVED, Answers, ControllerApi
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.envelope import EnvelopeRequest, EnvelopeResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Context, Member
    from blumfeld.broker.dispatch import Handler
    from blumfeld.cluster.controller.shell import QuorumController
    from blumfeld.cluster.raft.driver import RaftDriver
    from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
    from blumfeld.protocol.schema import Request, Response


@dataclass(slots=True)
class ControllerNode:
    """The parts of a node that its controller listener serves."""

    controller: QuorumController
    raft: RaftDriver
    member: Member


def controller_table() -> Mapping[int, Api]:
    """The table of a controller listener's dispatcher, whose subject is a `ControllerNode`."""
    return {
        int(row.key): Api(row.key, row.first_version, row.last_version, lambda row=row: _handler(row))  # type: ignore[misc]
        for row in SERVED.values()
    }


def _handler(row: ControllerApi) -> Handler:
    match row.answers:
        case Answers.DECIDER:
            return _decide
        case Answers.RAFT:
            return _ask_raft
        case Answers.READING:
            return _read
        case Answers.LISTENER:
            return _api_versions if row.key is ApiKey.API_VERSIONS else _envelope


async def _decide(node: ControllerNode, context: Context, request: Request) -> Response:
    response: Response = await node.controller.handle(
        request,
        ControllerContext(
            context.api_version,
            client_host=context.client_host,
            client_id=context.client_id,
            listener=context.listener,
            connection_id=context.connection_id,
        ),
    )
    return fitted(response, context.api_version)


def _ask_raft(node: ControllerNode, context: Context, request: Request) -> Awaitable[Response]:
    return node.raft.handle(request, context.api_version)


def _read(node: ControllerNode, context: Context, request: Request) -> Response | Awaitable[Response]:
    name = type(request).KEY.name.lower()
    read = getattr(importlib.import_module(f"blumfeld.broker.api.{name}"), name)
    answer: Response | Awaitable[Response] = read(node.member, context, request)
    return answer


def _api_versions(node: ControllerNode, context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    response = announce(controller_table().values(), context, request)
    if response.error_code == ErrorCode.NONE:
        add_features(response, node.member.image.features.levels, node.member.image.offset, context.api_version)
    return response


async def _envelope(node: ControllerNode, context: Context, request: EnvelopeRequest) -> EnvelopeResponse:
    enclosed = open_envelope(request)
    if isinstance(enclosed, ErrorCode):
        return EnvelopeResponse(response_data=None, error_code=enclosed)
    row = SERVED.get(ApiKey(enclosed.header.request_api_key))
    if row is None or not row.forwardable:
        return EnvelopeResponse(response_data=None, error_code=ErrorCode.INVALID_REQUEST)
    if not node.controller.is_active:
        return EnvelopeResponse(response_data=None, error_code=ErrorCode.NOT_CONTROLLER)
    response: Any
    if row.answers is Answers.RAFT:
        response = await node.raft.handle(enclosed.request, enclosed.context.api_version)
    else:
        response = await node.controller.handle(enclosed.request, enclosed.context)
        fitted(response, enclosed.context.api_version)
    return seal(enclosed, response)
