"""Request and response headers.

`frame.py` knows which header version goes with which message.
"""

from __future__ import annotations

from blumfeld.protocol.primitives import Int16, Int32, String
from blumfeld.protocol.schema import Data, field


class RequestHeader(Data, versions="1-2", flexible="2+"):
    """Before every request: which API and version follows, and the number that its response will carry.

    Versions: 1 client id; 2 tagged fields (KIP-482).
    """

    request_api_key: Int16
    request_api_version: Int16
    correlation_id: Int32
    client_id: String | None = field(flexible="none")


class ResponseHeader(Data, versions="0-1", flexible="1+"):
    """Before every response. That of ApiVersions is version 0 in every case.

    Versions: 1 tagged fields (KIP-482).
    """

    correlation_id: Int32
