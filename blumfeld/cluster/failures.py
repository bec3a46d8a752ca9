"""How a conversation with another node fails. The tree is drawn in `link.py`."""

from __future__ import annotations


class LinkError(Exception):
    """No answer was had from the other node."""


class Unreachable(LinkError):
    """No connection could be made in time."""


class Refused(Unreachable):
    """The host answered that nobody listens on that port: the process is gone, or not there yet."""


class Closed(LinkError):
    """The connection broke while the request was in flight, or the link was closed."""


class TimedOut(LinkError):
    """The other node was connected but did not answer in time."""


class UnsupportedByPeer(LinkError):
    """The other node does not know the request, or no version of it that we know."""
