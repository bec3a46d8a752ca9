"""Who may connect: counts of connections over all listeners of a broker, and their limits.

Owns the set of admitted connections, by listener and by host. Knows nothing of what they send.

Limits (options): `max.connections`, also as `listener.name.<listener>.max.connections`; `max.connections.per.ip` with
its overrides. Beyond a limit, a connection is closed at once (Apache Kafka leaves those over `max.connections`
unaccepted). As in Apache Kafka, a broker with several listeners lets other brokers in beyond `max.connections`, and
closes the connection that has been quiet the longest instead.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from blumfeld.broker.budget import RequestBudget
from blumfeld.config.options import BROKER_OPTIONS, LISTENER_PREFIX
from blumfeld.config.values import ConfigError, parse

if TYPE_CHECKING:
    from blumfeld.broker.connection import Connection
    from blumfeld.config.sources import Config
    from blumfeld.env.net import Network

_log = logging.getLogger(__name__)

_TOTAL = "max.connections"
_PER_HOST = "max.connections.per.ip"
_OVERRIDES = "max.connections.per.ip.overrides"
_LONGEST_COUNT = 12


class Admission:
    """The connections of one broker (or one controller), whichever listener they came by.

    Args:
        config: the limits, until `configure` brings others.
        protected: the inter-broker listener, where there are others beside it.
    """

    def __init__(self, config: Config, protected: str | None = None) -> None:
        self._protected = protected
        self._admitted: dict[Connection, tuple[str, str]] = {}
        self._of_listener: Counter[str] = Counter()
        self._of_host: Counter[str] = Counter()
        self._addresses: dict[str, set[str]] = {}
        queued = config.int("queued.max.request.bytes")
        self.budget = RequestBudget(queued) if queued > 0 else None
        self.configure(config)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._admitted)

    def configure(self, config: Config) -> None:
        """Go by these limits from now on; connections that are there stay. Raises ConfigError."""
        overrides = _overrides(config.str(_OVERRIDES), config.origin(_OVERRIDES))
        self._max_of_listener = _listener_limits(config)
        self._max_total = config.int(_TOTAL)
        self._max_per_host = config.int(_PER_HOST)
        self._overrides = overrides
        self._max_of_host = {
            address: limit for host, limit in overrides for address in self._addresses.get(host, {host})
        }

    def reconfigure(self, config: Config) -> None:
        """As `configure`, for dynamic configs: one that can't be is warned of and changes nothing."""
        try:
            self.configure(config)
        except ConfigError as error:
            _log.warning("%s; the limits of connections stay as they are", error)

    async def look_up(self, config: Config, network: Network) -> None:
        """Find the addresses of names among the overrides of `config`. Once, before anybody is admitted: a name that
        comes later, by a dynamic config, counts from the next start on. Raises ConfigError."""
        for host, _ in self._overrides:
            self._addresses[host] = await _addresses(host, config.origin(_OVERRIDES), network)
        self.configure(config)

    def admit(self, connection: Connection, listener: str, host: str) -> str | None:
        """Count a connection in; or the limit that it would break."""
        of_listener = self._max_of_listener.get(listener.lower())
        if of_listener is not None and self._of_listener[listener] >= of_listener:
            return f"{LISTENER_PREFIX}{listener.lower()}.{_TOTAL}"
        if self._of_host[host] >= self._max_of_host.get(host, self._max_per_host):
            return _PER_HOST
        if len(self._admitted) >= self._max_total and not self._make_room(listener):
            return _TOTAL
        self._admitted[connection] = (listener, host)
        self._of_listener[listener] += 1
        self._of_host[host] += 1
        return None

    def forget(self, connection: Connection) -> None:
        """A connection ended; fine where it had not been admitted."""
        place = self._admitted.pop(connection, None)
        if place is not None:
            for counter, name in zip((self._of_listener, self._of_host), place, strict=True):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]

    def _make_room(self, listener: str) -> bool:
        """For another broker: close the quietest connection of the other listeners."""
        if listener != self._protected:
            return False
        others = [connection for connection, place in self._admitted.items() if place[0] != listener]
        if not others:
            return False
        quietest = min(others, key=lambda connection: connection.last_activity)
        self.forget(quietest)
        quietest.abort()
        return True


def _listener_limits(config: Config) -> dict[str, int]:
    """`listener.name.<listener>.max.connections`, by listener. Raises ConfigError."""
    limits = {}
    for name, text in config.unknown.items():
        if name.startswith(LISTENER_PREFIX) and name.endswith("." + _TOTAL):
            limit = parse(BROKER_OPTIONS[_TOTAL], text, name)
            assert isinstance(limit, int)
            limits[name[len(LISTENER_PREFIX) : -len(_TOTAL) - 1]] = limit
    return limits


def _overrides(text: str, origin: str) -> list[tuple[str, int]]:
    """`host:count,…`, taken apart. Raises ConfigError."""
    limits = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        host, _, count = entry.rpartition(":")
        if not host or not count.strip().isdecimal() or len(count) > _LONGEST_COUNT:
            raise ConfigError(_OVERRIDES, text, origin, f"address:count,…, which {entry!r} is not")
        limits.append((host.strip().removeprefix("[").removesuffix("]"), int(count)))
    return limits


async def _addresses(host: str, origin: str, network: Network) -> set[str]:
    try:
        return await network.resolve(host)
    except OSError as error:
        raise ConfigError(_OVERRIDES, host, origin, f"addresses, or names that can be looked up ({error})") from error
