"""The way from a broker to the active controller, wherever that is.

Owns the search for the active controller (from the raft leader this node knows), one link to it, the wrapping of
clients' admin requests in Envelope (v0, KIP-590), and the retries while leadership moves. Where the active controller
is this very process, requests are handed over without a wire.

Must never know what the requests mean, except for the codes that say NOT_CONTROLLER.

Invariants
- A request is tried until its time is up while there is no leader, the leader is not reachable, or answers
  NOT_CONTROLLER; every other answer is final. Requests are idempotent or fenced by epochs, so trying again is safe (a
  CreateTopics that was carried out unheard is answered TOPIC_ALREADY_EXISTS, as by Apache Kafka).
- A request that waits for a controller which is no longer the leader is given up and sent to the new one.
- Requests of this broker and of clients share the link but never wait for each other's answers, and the little time
  that a client has ends nobody else's conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Protocol

from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.envelope import unwrap, wrap
from blumfeld.cluster.link import Link, LinkError, TimedOut, UnsupportedByPeer
from blumfeld.cluster.producer_ids import ProducerIds
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.messages.allocate_producer_ids import AllocateProducerIdsRequest
from blumfeld.protocol.messages.envelope import EnvelopeResponse

if TYPE_CHECKING:
    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.header import RequestHeader
    from blumfeld.protocol.schema import Request

FIRST_RETRY_S: Final = 0.02
LAST_RETRY_S: Final = 0.2
LOOK_AT_LEADER_S: Final = 0.1
ALLOCATE_TIMEOUT_MS: Final = 5_000.0
SMALLEST_TIMEOUT_MS: Final = 1.0
NEVER: Final = float("inf")
PATIENCE_MS: Final = 1_000.0
"""A client's request that is not answered for so long ends the conversation: the connection may be dead. A client that
has less time just leaves."""


class ControllerUnavailable(Exception):
    """No active controller answered in time; clients are told REQUEST_TIMED_OUT or another retriable code."""


class NoController(ControllerUnavailable):
    """Most controllers are gone, so none can be active."""


class LocalController(Protocol):
    """The controller in this process, if it has that role: `cluster.controller.shell.QuorumController`."""

    @property
    def is_active(self) -> bool:
        """Whether it leads the quorum now."""
        ...

    def handle(self, request: Request, context: ControllerContext) -> Awaitable[Any]:
        """Answer one request; refusals, NOT_CONTROLLER among them, are error codes in the answer."""
        ...


class QuorumView(Protocol):
    """What the channel needs of the raft driver: who leads, and where that node's controller listener is."""

    @property
    def leader_id(self) -> int | None:
        """The raft leader as far as this node knows."""
        ...

    @property
    def majority_is_gone(self) -> bool:
        """Whether so many controllers refuse connections that none can be active."""
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
        self._env = env
        self._node_id = node_id
        self._quorum = quorum
        self._local = local
        self._link: Link | None = None
        self.broker_epoch = -1
        """Set by the lifecycle when the broker has registered."""
        self._producer_ids = ProducerIds(self._allocate_producer_ids)

    @property
    def leader_id(self) -> int | None:
        """The node whose controller is active, as far as this node knows."""
        return self._quorum.leader_id

    async def send(self, request: Request, *, timeout_ms: float, while_possible: bool = False) -> Any:
        """Send a broker's own request (registration, heartbeat, AlterPartition, …) and return its answer.

        `while_possible`: give up before time is up when most controllers are gone, so that none can become active.

        Raises:
            ControllerUnavailable: no active controller answered in time.
            NoController: with `while_possible`, there can be none.
        """
        context = ControllerContext(type(request).VERSIONS.high)
        return await self._until_answered(request, request, context, timeout_ms, while_possible=while_possible)

    async def forward(
        self,
        request: Request,
        header: RequestHeader,
        *,
        client_host: str,
        timeout_ms: float,
        principal: str = "ANONYMOUS",
    ) -> Any:
        """Pass a client's admin request on, in the version the client used, and return the controller's answer.

        Raises:
            ControllerUnavailable: no active controller answered in time.
        """
        context = ControllerContext(
            header.request_api_version,
            principal,
            client_host=client_host,
            client_id=header.client_id or "",
            forwarded=True,
        )
        enveloped = wrap(request, header, client_host=client_host, principal=principal)
        return await self._until_answered(request, enveloped, context, timeout_ms)

    async def next_producer_id(self) -> int | ErrorCode:
        """A producer id that nobody had before (AllocateProducerIds, in blocks of 1000); or the controller's refusal.

        Raises:
            ControllerUnavailable: a new block was needed and not had in time.
        """
        taken = self._producer_ids.take()
        return taken if taken is not None else await self._producer_ids.next()

    def close(self) -> None:
        """Close the link; requests in flight fail and are tried again until their time is up."""
        if self._link is not None:
            self._link.close()

    async def _allocate_producer_ids(self) -> Any:
        request = AllocateProducerIdsRequest(broker_id=self._node_id, broker_epoch=self.broker_epoch)
        return await self.send(request, timeout_ms=ALLOCATE_TIMEOUT_MS)

    async def _until_answered(
        self,
        request: Request,
        on_the_wire: Request,
        context: ControllerContext,
        timeout_ms: float,
        *,
        while_possible: bool = False,
    ) -> Any:
        clock = self._env.clock
        deadline = clock.monotonic() + timeout_ms / 1000
        retry_s = FIRST_RETRY_S
        while True:
            try:
                answer = await self._ask(request, on_the_wire, context, (deadline - clock.monotonic()) * 1000)
                if isinstance(answer, EnvelopeResponse) and answer.error_code != ErrorCode.NOT_CONTROLLER:
                    answer = unwrap(answer, type(request).KEY, context.api_version)
                if not says_not_controller(answer):
                    return answer
                reason = "the node that was asked is not the active controller"
            except UnsupportedByPeer as error:
                raise ControllerUnavailable(str(error)) from error
            except (LinkError, ProtocolError, NoLeader) as error:
                reason = str(error)
                if while_possible and self._quorum.majority_is_gone:
                    raise NoController(reason) from error
            if clock.monotonic() + retry_s >= deadline:
                raise ControllerUnavailable(reason)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _ask(self, request: Request, on_the_wire: Request, context: ControllerContext, timeout_ms: float) -> Any:
        """One try at whoever leads now."""
        if self._local is not None and self._local.is_active:
            return await self._local.handle(request, context)
        leader = self._quorum.leader_id
        endpoint = None if leader is None else self._quorum.controller_endpoint(leader)
        if endpoint is None or leader == self._node_id:
            raise NoLeader("no active controller is known")
        link = self._link_to(*endpoint)
        now = self._env.clock.monotonic
        leaves_at = NEVER  # the link tells of its time
        if on_the_wire is not request and timeout_ms < PATIENCE_MS:
            leaves_at = now() + timeout_ms / 1000
        link_timeout_ms = max(timeout_ms, SMALLEST_TIMEOUT_MS) if leaves_at == NEVER else PATIENCE_MS
        answering = asyncio.ensure_future(link.send(on_the_wire, timeout_ms=link_timeout_ms))
        try:
            while not (await asyncio.wait([answering], timeout=min(LOOK_AT_LEADER_S, leaves_at - now())))[0]:
                if self._quorum.leader_id not in (leader, None):
                    raise NoLeader(f"controller {leader} was replaced before it answered")
                if now() >= leaves_at:
                    raise TimedOut(f"controller {leader} gave no answer within {timeout_ms:g} ms")
            return answering.result()
        finally:
            answering.cancel()

    def _link_to(self, host: str, port: int) -> Link:
        link = self._link
        if link is None or (link.host, link.port) != (host, port):
            if link is not None:
                link.close()
            link = self._link = Link(self._env, host, port, client_id=f"broker-{self._node_id}")
        return link


class NoLeader(Exception):
    """There is nobody to ask at the moment."""


def says_not_controller(answer: Any) -> bool:
    """Whether an answer as a whole says NOT_CONTROLLER: at its top or, without such a field, in its first part."""
    code = getattr(answer, "error_code", None)
    if code is not None:
        return bool(code == ErrorCode.NOT_CONTROLLER)
    for name in ("topics", "responses", "results", "resources"):
        parts = getattr(answer, name, None)
        if parts:
            return getattr(parts[0], "error_code", 0) == ErrorCode.NOT_CONTROLLER
    return False
