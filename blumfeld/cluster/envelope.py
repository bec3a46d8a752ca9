"""Envelopes: a client's request on its way to the controller, and the answer's way back (KIP-590).

Owns the contents of Envelope v0: the whole inner request with its header, the serialized principal, the client's
address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.frame import decode_response, encode_request
from blumfeld.protocol.messages.envelope import EnvelopeRequest, EnvelopeResponse
from blumfeld.protocol.primitives import encode_unsigned_varint

if TYPE_CHECKING:
    from blumfeld.protocol.keys import ApiKey
    from blumfeld.protocol.messages.header import RequestHeader
    from blumfeld.protocol.schema import Request

SIZE_BYTES: Final = 4
PRINCIPAL_VERSION: Final = b"\x00\x00"
UNKNOWN_ADDRESS: Final = bytes(4)


def wrap(request: Request, header: RequestHeader, *, client_host: str, principal: str) -> EnvelopeRequest:
    """Put a client's decoded request into an envelope, in the version the client used."""
    parts = encode_request(
        type(request).KEY, header.request_api_version, header.correlation_id, header.client_id, request
    )
    return EnvelopeRequest(
        request_data=b"".join(parts)[SIZE_BYTES:],
        request_principal=serialize_principal("User", principal),
        client_host_address=_address(client_host),
    )


def unwrap(response: EnvelopeResponse, key: ApiKey, version: int) -> Any:
    """The inner response. ProtocolError where the envelope itself was refused."""
    if response.error_code != ErrorCode.NONE or response.response_data is None:
        raise ProtocolError(f"the controller refused an envelope: {ErrorCode(response.error_code).name}")
    return decode_response(response.response_data, key, version)[1]


def serialize_principal(kind: str, name: str) -> bytes:
    """Apache Kafka's DefaultPrincipalData v0: type, name, whether a delegation token was used."""
    fields = b"".join(encode_unsigned_varint(len(raw) + 1) + raw for raw in (kind.encode(), name.encode()))
    return PRINCIPAL_VERSION + fields + b"\x00" + b"\x00"


def _address(host: str) -> bytes:
    from ipaddress import ip_address  # a client's admin request comes seldom; start-up is a feature

    try:
        return ip_address(host.partition("%")[0]).packed
    except ValueError:
        return UNKNOWN_ADDRESS
