"""Envelope (58): a client's request, passed on whole by a broker (KIP-590).

Owns unwrapping and wrapping. The frame inside is a request as the client sent it, header included; the answer inside
is a response as the client is to receive it. Must never know what the inner request means.

Errors: what cannot be read inside is INVALID_REQUEST or PRINCIPAL_DESERIALIZATION_FAILURE in the envelope;
NOT_CONTROLLER is an envelope's error too, so that the broker looks for the active controller and the client never
sees it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.frame import decode_request_header, encode_response
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.messages.envelope import EnvelopeRequest, EnvelopeResponse

if TYPE_CHECKING:
    from blumfeld.protocol.messages.header import RequestHeader
    from blumfeld.protocol.schema import Request, Response


class Enclosed(NamedTuple):
    """What was in an envelope."""

    header: RequestHeader
    request: Request
    context: ControllerContext


def open_envelope(envelope: EnvelopeRequest) -> Enclosed | ErrorCode:
    """The request inside and who asks."""
    principal = _principal(envelope.request_principal)
    if principal is None:
        return ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE
    try:
        header, body = decode_request_header(envelope.request_data)
        request = request_class(ApiKey(header.request_api_key)).decode(body, header.request_api_version)
        client_host = str(ipaddress.ip_address(envelope.client_host_address))
    except (ProtocolError, LookupError, ValueError):
        return ErrorCode.INVALID_REQUEST
    context = ControllerContext(
        header.request_api_version,
        principal=principal[1],
        principal_type=principal[0],
        client_host=client_host,
        client_id=header.client_id or "",
        forwarded=True,
    )
    return Enclosed(header, request, context)


def _principal(data: bytes | None) -> tuple[str, str] | None:
    """(type, name) of a serialized principal: int16 version, then DefaultPrincipalData. Without one: anonymous."""
    from blumfeld.protocol.messages.default_principal import DefaultPrincipalData

    if data is None:
        return "User", "ANONYMOUS"
    try:
        decoded = DefaultPrincipalData.decode(memoryview(data)[2:], int.from_bytes(data[:2], "big"))
    except ProtocolError:
        return None
    return decoded.type, decoded.name


def seal(enclosed: Enclosed, response: Response) -> EnvelopeResponse:
    """The answer, in the version the client asked in, as an envelope."""
    parts = encode_response(enclosed.header.correlation_id, enclosed.header.request_api_version, response)
    return EnvelopeResponse(response_data=b"".join(parts)[4:], error_code=ErrorCode.NONE)
