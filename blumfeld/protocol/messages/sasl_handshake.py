"""SaslHandshake (key 17): agree on a SASL mechanism."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int16, String
from blumfeld.protocol.schema import Request, Response


class SaslHandshakeRequest(Request, key=ApiKey.SASL_HANDSHAKE, versions="0-1"):
    """The mechanism the client wants.

    Versions: 1 tokens travel in SaslAuthenticate requests (KIP-152).
    """

    mechanism: String


class SaslHandshakeResponse(Response, key=ApiKey.SASL_HANDSHAKE, versions="0-1"):
    """Whether the mechanism is served, and which ones are."""

    error_code: Int16
    mechanisms: Array[String]
