"""Requests to other replicas: sent over links, answered by events.

Owns the tasks of requests under way, and what a failure of a link proves: a refused connection is evidence that the
process is gone; a broken or silent one is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from blumfeld.cluster.link import LinkError, Refused, UnsupportedByPeer
from blumfeld.cluster.raft import rpc
from blumfeld.cluster.raft.events import Answered, Event, Failed, Failure, PeerUnreachable, Send
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.schema import UnsupportedFieldError

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Request

_log = logging.getLogger(__name__)


class PeerLinks(Protocol):
    """The links to other nodes' controller listeners; `cluster.link.Link` behind a cache by address."""

    async def send(self, host: str, port: int, request: Request, *, timeout_ms: float) -> Any:
        """Send `request`, return the decoded response.

        Raises `LinkError` (of which `Refused` is evidence that the process is gone, and `UnsupportedByPeer` that the
        other side is older), or ProtocolError.
        """
        ...


class Calls:
    """The outgoing requests of one replica.

    Args:
        post: takes the event that a request ends in.
    """

    def __init__(self, links: PeerLinks, cluster_id: str, listener: str, post: Callable[[Event], None]) -> None:
        self._links = links
        self._cluster_id = cluster_id
        self._listener = listener
        self._post = post
        self._tasks: set[asyncio.Task[None]] = set()
        self.refusing: set[int] = set()
        """Nodes whose listener refused the last connection, and that have not been heard of since."""

    def send(self, effect: Send) -> None:
        task = asyncio.get_running_loop().create_task(self._call(effect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up on all that is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, effect: Send) -> None:
        endpoint = effect.endpoint
        request = rpc.write_request(effect.request, self._cluster_id)
        failure = Failure.LOST
        try:
            answer = await self._links.send(endpoint.host, endpoint.port, request, timeout_ms=effect.timeout_ms)
            response = rpc.read_response(answer, self._listener)
        except Refused as error:
            failure = Failure.REFUSED
            if effect.node_id is not None:
                self.refusing.add(effect.node_id)
                self._post(PeerUnreachable(effect.node_id, str(error)))
        except (UnsupportedByPeer, UnsupportedFieldError) as error:
            _log.info("node %s does not know %s: %s", effect.node_id, type(request).__name__, error)
            failure = Failure.UNSUPPORTED
        except LinkError as error:
            _log.debug("no answer to %s: %s", type(request).__name__, error)
        except (ProtocolError, ValueError) as error:
            _log.warning("answer of %s:%d to %s: %s", endpoint.host, endpoint.port, type(request).__name__, error)
        else:
            if effect.node_id is not None:
                self.refusing.discard(effect.node_id)
            self._post(Answered(effect.correlation_id, response))
            return
        self._post(Failed(effect.correlation_id, failure))
