"""SaslAuthenticate (key 36): one step of a SASL exchange (KIP-152)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Bytes, Int16, Int64, String
from blumfeld.protocol.schema import Request, Response, field


class SaslAuthenticateRequest(Request, key=ApiKey.SASL_AUTHENTICATE, versions="0-2", flexible="2+"):
    """Bytes for the mechanism."""

    auth_bytes: Bytes


class SaslAuthenticateResponse(Response, key=ApiKey.SASL_AUTHENTICATE, versions="0-2", flexible="2+"):
    """The mechanism's answer.

    Versions: 1 lifetime of the session, after which the client must authenticate anew (KIP-368).
    """

    error_code: Int16
    error_message: String | None
    auth_bytes: Bytes
    session_lifetime_ms: Int64 = field(versions="1+", default=0, ignorable=True)
