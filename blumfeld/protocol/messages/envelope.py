"""Envelope (key 58): a client's request, forwarded to the controller (KIP-590)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Bytes, Int16
from blumfeld.protocol.schema import Request, Response


class EnvelopeRequest(Request, key=ApiKey.ENVELOPE, versions="0", flexible="0+"):
    """A whole request with its header, the client's principal and its address."""

    request_data: Bytes
    request_principal: Bytes | None  # versioned DefaultPrincipalData
    client_host_address: Bytes


class EnvelopeResponse(Response, key=ApiKey.ENVELOPE, versions="0", flexible="0+"):
    """The whole response with its header."""

    response_data: Bytes | None = None
    error_code: Int16
