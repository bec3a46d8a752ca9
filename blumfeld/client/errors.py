"""What goes wrong between this client and a cluster, as exceptions that name the error code.

ClientError
├── RequestFailed      the broker answered with an error code
└── NoBroker           none of the bootstrap servers, or not the one needed, could be reached
"""

from __future__ import annotations

from blumfeld.protocol.errors import ErrorCode


class ClientError(Exception):
    """Base of this client's errors."""


class RequestFailed(ClientError):
    """A broker refused: `code` says why, `subject` and the message what was asked."""

    def __init__(self, code: int, what: str, message: str | None = None) -> None:
        self.code = ErrorCode(code)
        self.subject = what
        super().__init__(": ".join(filter(None, (what, self.code.name, message or self.code.text))))


class NoBroker(ClientError):
    """No broker could be reached."""


def check(code: int, what: str, message: str | None = None) -> None:
    """Raise RequestFailed unless `code` is NONE."""
    if code != ErrorCode.NONE:
        raise RequestFailed(code, what, message)
