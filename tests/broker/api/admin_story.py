"""A broker for stories about metadata and administration: its controller decides at once, its replicas are none.

admin = Admin(node_id=1).with_brokers(1, 2)
await admin.ask(create_topics, CreateTopicsRequest(…))
admin.behind = True                # committed metadata does not reach this broker …
admin.catch_up()                   # … until now
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from blumfeld.broker.context import Broker, Context
from blumfeld.broker.dispatch import Peer
from blumfeld.broker.published import publish
from blumfeld.broker.recently_fenced import RecentlyFenced
from blumfeld.cluster.controller_channel import ControllerUnavailable
from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.cluster import ClusterImage
from blumfeld.cluster.image.delta import difference
from blumfeld.cluster.waiting import Purgatory
from blumfeld.config.sources import Config, Layer
from blumfeld.env.clock import ManualClock, SystemClock
from blumfeld.env.environment import Env
from blumfeld.protocol.messages.header import RequestHeader
from blumfeld.protocol.schema import Request
from tests.cluster.controller.story import CLUSTER_ID, Controller


class Channel:
    """The way to the controller, short and without a wire."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.is_there = True
        self.leader_id: int | None = 9
        self.asked: list[Request] = []

    async def send(self, request: Request, *, timeout_ms: float) -> Any:
        return self._answer(request, None)

    async def forward(self, request: Request, header: RequestHeader, *, client_host: str, timeout_ms: float) -> Any:
        return self._answer(request, header.request_api_version)

    def _answer(self, request: Request, version: int | None) -> Any:
        self.asked.append(request)
        if not self.is_there:
            raise ControllerUnavailable("nobody leads")
        answer = self._admin.controller.send(request, version)
        if not self._admin.behind:
            self._admin.catch_up()
        return answer


class OffsetsTopic:
    def __init__(self) -> None:
        self.wanted = 0

    async def ensure(self, timeout_ms: int) -> bool:
        self.wanted += 1
        return True


class Groups:
    def __init__(self) -> None:
        self.topic = OffsetsTopic()


class Replicas:
    """No replicas, but the connections to their leaders."""

    def __init__(self, node_id: int) -> None:
        self.membership = Membership(node_id, ClusterImage())


class Admin:
    """One broker and its cluster."""

    def __init__(self, node_id: int = 1, properties: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.controller = Controller(properties, **settings)
        self.channel = Channel(self)
        self.groups = Groups()
        self.replicas = Replicas(node_id)
        self.behind = False
        self.clock = ManualClock()
        self.broker = Broker(
            env=cast("Env", None),
            config=Config([Layer("test", properties or {})]),
            node_id=node_id,
            cluster_id=CLUSTER_ID,
            image=self.controller.image,
            replicas=cast("Any", self.replicas),
            groups=cast("Any", self.groups),
            controller=cast("Any", self.channel),
            purgatory=Purgatory(SystemClock()),
            fetch_sessions=cast("Any", None),
            recently_fenced=RecentlyFenced(self.clock),
        )
        self.listener = "PLAINTEXT"

    def with_brokers(self, *broker_ids: int, **changes: Any) -> Self:
        self.controller.with_brokers(*broker_ids, **changes)
        self.catch_up()
        return self

    def with_topic(self, name: str, *args: Any, **changes: Any) -> Self:
        self.controller.with_topic(name, *args, **changes)
        self.catch_up()
        return self

    def catch_up(self) -> None:
        """This broker applies what is committed."""
        delta = difference(self.broker.image, self.controller.image)
        if delta.cluster is not None:
            self.broker.recently_fenced.apply(delta.cluster)
        publish(self.broker, self.controller.image)

    def context(self, request: Request, version: int | None = None) -> Context:
        high = type(request).VERSIONS.high
        header = RequestHeader(
            request_api_key=type(request).KEY,
            request_api_version=high if version is None else version,
            correlation_id=1,
            client_id="test",
        )
        return Context(header, Peer(1, self.listener, "127.0.0.1", "localhost", 19092))

    async def ask(self, handler: Callable[..., Any], request: Request, version: int | None = None) -> Any:
        """The handler's answer, as a client of that version decodes it."""
        context = self.context(request, version)
        decoded = type(request).decode(request.encode(context.api_version), context.api_version)
        answer = handler(self.broker, context, decoded)
        if inspect.isawaitable(answer):
            answer = await answer
        return type(request).RESPONSE.decode(answer.encode(context.api_version), context.api_version)
