"""DescribeUserScramCredentials (key 50): which SCRAM credentials users have (KIP-554)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class DescribeUserScramCredentialsRequest(
    Request, key=ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, versions="0", flexible="0+"
):
    """Users; null or none asks for all."""

    users: Array[User] | None

    class User(Struct):
        name: String


class DescribeUserScramCredentialsResponse(
    Response, key=ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, versions="0", flexible="0+"
):
    """Mechanisms and iterations; never salts or keys."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    results: Array[Result]

    class Result(Struct):
        user: String
        error_code: Int16
        error_message: String | None
        credential_infos: Array[CredentialInfo]

        class CredentialInfo(Struct):
            mechanism: Int8  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
            iterations: Int32
