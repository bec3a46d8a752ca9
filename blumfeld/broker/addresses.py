"""Under which address a client is told to find a broker.

Owns the rule. Where this broker has an `advertised.listeners` entry for the listener a client came by, brokers are
named as they registered. Otherwise this broker is named by the address the client dialled, which worked, and brokers
that registered under the same host as this one (the same machine, the usual cluster of one developer) by that host
with their own port; a broker that registered under another host is named as it registered.

Must never know of partitions. Invariant: only the listener of the same name counts; a broker without it cannot be
named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from blumfeld.broker.context import Context, Member
    from blumfeld.cluster.image.cluster import BrokerRegistration


class Address(NamedTuple):
    """A broker as a client sees it."""

    node_id: int
    host: str
    port: int
    rack: str | None


class Addresses:
    """Addresses for one client's connection, from the present metadata."""

    def __init__(self, member: Member, context: Context) -> None:
        self._cluster = member.image.cluster
        self._listener = context.listener
        self._own_id = member.node_id
        self._dialled = (context.local_host, context.local_port)
        own = self._cluster.brokers.get(member.node_id)
        endpoint = None if own is None else own.listeners.get(context.listener)
        self._own_host = None if endpoint is None else endpoint.host
        self._is_advertised = any(
            entry.partition("://")[0].strip().upper() == context.listener
            for entry in member.config.list("advertised.listeners")
        )

    def of(self, registration: BrokerRegistration) -> Address | None:
        """Where the client finds that broker; None where it lacks the client's listener."""
        endpoint = registration.listeners.get(self._listener)
        if endpoint is None:
            return None
        host, port = endpoint.host, endpoint.port
        if not self._is_advertised:
            if registration.id == self._own_id:
                host, port = self._dialled
            elif host == self._own_host:
                host = self._dialled[0]
        return Address(registration.id, host, port, registration.rack)

    def alive(self) -> Iterator[Address]:
        """Every broker that is not fenced and has the client's listener, by id."""
        for _, registration in sorted(self._cluster.brokers.items()):
            if not registration.fenced:
                address = self.of(registration)
                if address is not None:
                    yield address

    def of_id(self, node_id: int) -> Address | None:
        """The same for a broker by id, fenced or not; None if it is unknown."""
        registration = self._cluster.brokers.get(node_id)
        return None if registration is None else self.of(registration)
