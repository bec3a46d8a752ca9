"""The way from a broker to the active controller, wherever that is.

Owns the search for the active controller (from the raft leader this node knows), one link to it, the wrapping of
clients' admin requests in Envelope (v0), and the retries while leadership moves. Where the active controller is this
very process, requests are handed over without a wire.

Must never know what the requests mean, except for the one field that says NOT_CONTROLLER.

Invariants
- A request is tried until its time is up while there is no leader, the leader is not reachable, or answers
  NOT_CONTROLLER; every other answer is final. Requests are idempotent or fenced by epochs, so trying again is safe.
- Requests of this broker and of clients share the link but never wait for each other's answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.header import RequestHeader
    from blumfeld.protocol.schema import Request


class ControllerUnavailable(Exception):
    """No active controller answered in time; clients are told REQUEST_TIMED_OUT or COORDINATOR-like retriable codes."""


class LocalController(Protocol):
    """The controller in this process, if it has that role: `cluster.controller.shell.QuorumController`."""

    @property
    def is_active(self) -> bool:
        """Whether it leads the quorum now."""
        ...

    def handle(self, request: Request, context: Any) -> Awaitable[Any]:
        """Answer one request; refusals, NOT_CONTROLLER among them, are error codes in the answer."""
        ...


class QuorumView(Protocol):
    """What the channel needs of the raft driver: who leads, and where that node's controller listener is."""

    @property
    def leader_id(self) -> int | None:
        """The raft leader as far as this node knows."""
        ...

    def controller_endpoint(self, node_id: int) -> tuple[str, int] | None:
        """Host and port of that node's controller listener."""
        ...


class ControllerChannel:
    """One broker's requests to the active controller.

    Args:
        env: clock and network.
        node_id: this broker.
        quorum: who leads.
        local: the controller in this process, or None.
    """

    def __init__(self, env: Env, node_id: int, quorum: QuorumView, local: LocalController | None = None) -> None:
        raise NotImplementedError

    async def send(self, request: Request, *, timeout_ms: float) -> Any:
        """Send a broker's own request (registration, heartbeat, AlterPartition, …) and return its answer.

        Raises:
            ControllerUnavailable: no active controller answered in time.
        """
        raise NotImplementedError

    async def forward(
        self, request: Request, header: RequestHeader, *, client_host: str, timeout_ms: float, principal: str = "ANONYMOUS"
    ) -> Any:
        """Pass a client's admin request on, in the version the client used, and return the controller's answer.

        Raises:
            ControllerUnavailable: no active controller answered in time.
        """
        raise NotImplementedError

    async def next_producer_id(self) -> int:
        """A producer id that nobody had before, from blocks of 1000 (AllocateProducerIds).

        Raises:
            ControllerUnavailable: a new block was needed and not had in time.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the link; requests in flight fail."""
        raise NotImplementedError
