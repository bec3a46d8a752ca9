"""AlterUserScramCredentials (key 51): set or remove SCRAM credentials (KIP-554)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bytes, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct


class AlterUserScramCredentialsRequest(Request, key=ApiKey.ALTER_USER_SCRAM_CREDENTIALS, versions="0", flexible="0+"):
    """Credentials to remove, and to insert or replace."""

    deletions: Array[Deletion]
    upsertions: Array[Upsertion]

    class Deletion(Struct):
        name: String
        mechanism: Int8  # 1 SCRAM-SHA-256, 2 SCRAM-SHA-512

    class Upsertion(Struct):
        name: String
        mechanism: Int8
        iterations: Int32
        salt: Bytes
        salted_password: Bytes


class AlterUserScramCredentialsResponse(Response, key=ApiKey.ALTER_USER_SCRAM_CREDENTIALS, versions="0", flexible="0+"):
    """A result for each user."""

    throttle_time_ms: Int32 = 0
    results: Array[Result]

    class Result(Struct):
        user: String
        error_code: Int16
        error_message: String | None
