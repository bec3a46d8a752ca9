"""Who asks the controller, and in which version of the request.

Owns one request's surroundings as the deciders may see them. Brokers ask on their own behalf; a client's request
comes through a broker, in an Envelope or handed over within one process, with the client's version, principal and
address.
"""

from __future__ import annotations

from typing import NamedTuple


class ControllerContext(NamedTuple):
    """One request's surroundings.

    Args:
        api_version: the version the asker used; it decides between error codes and between shapes of an answer.
        principal: the client's name, "ANONYMOUS" without authentication.
        principal_type: "User" as a rule.
        client_host: the client's address as text.
        client_id: from its request header.
        forwarded: a broker passed it on for a client.
        listener: the controller listener it came in by; empty within one process.
        connection_id: the connection it came in by; −1 within one process. Heartbeats tie brokers to connections by it.
    """

    api_version: int
    principal: str = "ANONYMOUS"
    principal_type: str = "User"
    client_host: str = ""
    client_id: str = ""
    forwarded: bool = False
    listener: str = ""
    connection_id: int = -1
