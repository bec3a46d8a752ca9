"""CreateDelegationToken (key 38): a token that stands for a principal (KIP-48)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bytes, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class CreateDelegationTokenRequest(Request, key=ApiKey.CREATE_DELEGATION_TOKEN, versions="1-3", flexible="2+"):
    """Who may renew the token and how long it may live.

    Versions: 3 an owner other than the requester (KIP-373).
    """

    owner_principal_type: String | None = field(versions="3+", default="")
    owner_principal_name: String | None = field(versions="3+", default="")
    renewers: Array[Renewer]
    max_lifetime_ms: Int64

    class Renewer(Struct):
        principal_type: String
        principal_name: String


class CreateDelegationTokenResponse(Response, key=ApiKey.CREATE_DELEGATION_TOKEN, versions="1-3", flexible="2+"):
    """The token and its HMAC.

    Versions: 3 the requester (KIP-373).
    """

    error_code: Int16
    principal_type: String
    principal_name: String
    token_requester_principal_type: String = field(versions="3+", default="")
    token_requester_principal_name: String = field(versions="3+", default="")
    issue_timestamp_ms: Int64
    expiry_timestamp_ms: Int64
    max_timestamp_ms: Int64
    token_id: String
    hmac: Bytes
    throttle_time_ms: Int32 = 0
