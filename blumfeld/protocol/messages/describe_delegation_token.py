"""DescribeDelegationToken (key 41): list tokens (KIP-48)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bytes, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class DescribeDelegationTokenRequest(Request, key=ApiKey.DESCRIBE_DELEGATION_TOKEN, versions="1-3", flexible="2+"):
    """Owners whose tokens are wanted; null asks for all that the requester may see."""

    owners: Array[Owner] | None

    class Owner(Struct):
        principal_type: String
        principal_name: String


class DescribeDelegationTokenResponse(Response, key=ApiKey.DESCRIBE_DELEGATION_TOKEN, versions="1-3", flexible="2+"):
    """The tokens.

    Versions: 3 the requester (KIP-373).
    """

    error_code: Int16
    tokens: Array[Token]
    throttle_time_ms: Int32 = 0

    class Token(Struct):
        principal_type: String
        principal_name: String
        token_requester_principal_type: String = field(versions="3+", default="")
        token_requester_principal_name: String = field(versions="3+", default="")
        issue_timestamp: Int64
        expiry_timestamp: Int64
        max_timestamp: Int64
        token_id: String
        hmac: Bytes
        renewers: Array[Renewer]

        class Renewer(Struct):
            principal_type: String
            principal_name: String
