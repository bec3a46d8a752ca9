"""Listeners: addresses to bind, to advertise, and to find the metadata quorum at.

Owns the meaning of `listeners` and its relatives, and how they must agree. Pure; binds nothing, resolves no names.

Invariants: listener names are upper-case and distinct; each has a security protocol; controller listeners are never
advertised to clients, only to other nodes.
"""

from __future__ import annotations

from typing import NamedTuple

from blumfeld.config.sources import Config
from blumfeld.config.values import ConfigError

SECURITY_PROTOCOLS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}
_ADDRESS = "NAME://host:port, separated by commas"
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not bound


class Endpoint(NamedTuple):
    """A listener and its address. An empty host is every interface, port 0 any free port."""

    name: str
    host: str
    port: int
    security_protocol: str

    @property
    def security_protocol_id(self) -> int:
        """The number that registrations and RegisterBrokerRecord carry."""
        return SECURITY_PROTOCOLS[self.security_protocol]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


class Voter(NamedTuple):
    """A member of a fixed metadata quorum."""

    id: int
    host: str
    port: int


class Listeners(NamedTuple):
    """The listeners of one node.

    `broker` and `controller`: what to bind for each role. `advertised`: what clients and brokers are told, by listener
    name; empty where nothing was configured, so that a broker names itself by the address that was dialled.
    `inter_broker`: the name of the listener that brokers use, None where the node is only a controller.
    `controller_advertised`: what other nodes are told of the controller listeners: as bound, unless advertised
    otherwise (KIP-853).
    """

    broker: tuple[Endpoint, ...]
    controller: tuple[Endpoint, ...]
    advertised: dict[str, Endpoint]
    inter_broker: str | None
    controller_advertised: tuple[Endpoint, ...] = ()


def parse_listeners(config: Config) -> Listeners:
    """The listeners of a node with this configuration. Raises ConfigError where properties contradict each other."""
    roles = config.list("process.roles")
    protocols = _protocol_map(config)
    bound = _endpoints(config, "listeners", protocols)
    controller_names = [name.upper() for name in config.list("controller.listener.names")]
    _check_names(config, bound)
    _check_ports(config, bound)
    names = {endpoint.name for endpoint in bound}
    for name in controller_names:
        if "controller" in roles and config.is_given("listeners") and name not in names:
            raise _wrong(
                config, "controller.listener.names", f"among the names in listeners: {', '.join(sorted(names))}"
            )
    controller = tuple(endpoint for endpoint in bound if endpoint.name in controller_names)
    broker = tuple(endpoint for endpoint in bound if endpoint.name not in controller_names)
    if "broker" not in roles:
        advertised = _advertised(config, protocols, controller)
        return Listeners((), controller, {}, None, _preferring(advertised, controller))
    if not broker:
        raise _wrong(config, "listeners", "with at least one listener that is not in controller.listener.names")
    if "controller" not in roles and controller:
        raise _wrong(config, "listeners", "without controller listeners where process.roles is broker alone")
    advertised = _advertised(config, protocols, (*broker, *controller))
    to_clients = {name: endpoint for name, endpoint in advertised.items() if name not in controller_names}
    return Listeners(broker, controller, to_clients, _inter_broker(config, broker), _preferring(advertised, controller))


def _preferring(advertised: dict[str, Endpoint], bound: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    return tuple(advertised.get(endpoint.name, endpoint) for endpoint in bound)


def _protocol_map(config: Config) -> dict[str, str]:
    name = "listener.security.protocol.map"
    protocols = {}
    for item in config.str(name).split(","):
        if not item.strip():
            continue
        listener, colon, protocol = (part.strip().upper() for part in item.partition(":"))
        if not colon or protocol not in SECURITY_PROTOCOLS or listener in protocols:
            allowed = "NAME:PROTOCOL, each name once, separated by commas, with PROTOCOL one of "
            raise _wrong(config, name, allowed + ", ".join(SECURITY_PROTOCOLS))
        protocols[listener] = protocol
    if not config.is_given(name):  # as Apache Kafka: then controller listeners are plaintext
        for listener in config.list("controller.listener.names"):
            protocols.setdefault(listener.upper(), "PLAINTEXT")
    return protocols


def _endpoints(config: Config, name: str, protocols: dict[str, str]) -> list[Endpoint]:
    endpoints = []
    for text in config.list(name):
        listener, separator, address = text.partition("://")
        listener = listener.strip().upper()
        host, port = split_address(address)
        if not separator or not listener or port is None:
            raise _wrong(config, name, _ADDRESS)
        if listener not in protocols:
            raise _wrong(config, name, f"of names in listener.security.protocol.map: {', '.join(sorted(protocols))}")
        endpoints.append(Endpoint(listener, host, port, protocols[listener]))
    return endpoints


def split_address(text: str) -> tuple[str, int | None]:
    """Host and port of `host:port` or `[v6]:port`; no port where the text is malformed."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        return text, None
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    return (text, None) if ":" in host or "/" in host else (host, int(port))


def _check_names(config: Config, endpoints: list[Endpoint]) -> None:
    names = [endpoint.name for endpoint in endpoints]
    if len(set(names)) < len(names):
        raise _wrong(config, "listeners", "of distinct names")


def _check_ports(config: Config, endpoints: list[Endpoint]) -> None:
    """A port can be used twice only for one IPv4 and one IPv6 address (KIP-797), or with distinct hosts for neither."""
    seen: dict[int, set[bool]] = {}
    for endpoint in endpoints:
        is_v6 = ":" in endpoint.host
        kinds = seen.setdefault(endpoint.port, set())
        if endpoint.port != 0 and kinds and (is_v6 in kinds):
            raise _wrong(config, "listeners", "of distinct ports")
        kinds.add(is_v6)


def _advertised(config: Config, protocols: dict[str, str], listeners: tuple[Endpoint, ...]) -> dict[str, Endpoint]:
    name = "advertised.listeners"
    bound = {endpoint.name for endpoint in listeners}
    advertised = {}
    for endpoint in _endpoints(config, name, protocols):
        if endpoint.name not in bound:
            raise _wrong(config, name, f"of names in listeners: {', '.join(sorted(bound))}")
        if endpoint.host in _EVERY_ADDRESS:
            raise _wrong(config, name, "addresses that clients can connect to; 0.0.0.0 and an empty host are not")
        if endpoint.name in advertised:
            raise _wrong(config, name, "of distinct names")
        advertised[endpoint.name] = endpoint
    return advertised


def _inter_broker(config: Config, broker: tuple[Endpoint, ...]) -> str:
    name = "inter.broker.listener.name"
    wanted = config.optional_str(name)
    if wanted is not None:
        if config.is_given("security.inter.broker.protocol"):
            raise _wrong(config, name, "set alone: security.inter.broker.protocol names the listener too")
        if all(endpoint.name != wanted.upper() for endpoint in broker):
            names = ", ".join(endpoint.name for endpoint in broker)
            raise _wrong(config, name, f"the name of a listener of the broker: {names}")
        return wanted.upper()
    protocol = config.str("security.inter.broker.protocol")
    for endpoint in broker:
        if endpoint.name == protocol:
            return endpoint.name
    for endpoint in broker:
        if endpoint.security_protocol == protocol:
            return endpoint.name
    raise _wrong(config, "security.inter.broker.protocol", "the security protocol of a listener of the broker")


def check_roles(config: Config, node_id: int) -> None:
    """Whether roles and quorum agree: `controller.quorum.voters` names the controllers, and nobody else.

    Raises ConfigError.
    """
    roles = config.list("process.roles")
    voters = {voter.id for voter in parse_voters(config)}
    if "controller" not in roles:
        if not voters and not parse_bootstrap(config):
            raise _wrong(
                config,
                "process.roles",
                "broker alone where controller.quorum.bootstrap.servers or controller.quorum.voters say where the"
                " controllers are",
            )
        if node_id in voters:
            raise _wrong(
                config, "controller.quorum.voters", f"without node {node_id} where its process.roles is broker alone"
            )
    elif voters and node_id not in voters:
        raise _wrong(
            config, "controller.quorum.voters", f"with node {node_id}, since its process.roles contains controller"
        )


def check_protocols(config: Config) -> None:
    """Whether all listeners are PLAINTEXT: no other security protocol is served, and none is replaced by it.

    Raises ConfigError.
    """
    protocols = _protocol_map(config)
    named = {endpoint.name: "listeners" for endpoint in _endpoints(config, "listeners", protocols)}
    for name in config.list("controller.listener.names"):
        named.setdefault(name.upper(), "controller.listener.names")
    for name, option in named.items():
        protocol = protocols.get(name, "PLAINTEXT")
        if protocol != "PLAINTEXT":
            allowed = f"of listeners with the security protocol PLAINTEXT, the only one served; {name} has {protocol}"
            raise _wrong(config, option, allowed)


def parse_voters(config: Config) -> tuple[Voter, ...]:
    """The members of `controller.quorum.voters`, by id. Raises ConfigError."""
    name = "controller.quorum.voters"
    voters: dict[int, Voter] = {}
    for text in config.list(name):
        node, at, address = text.partition("@")
        host, port = split_address(address)
        if not at or not node.strip().isdigit() or port is None or int(node) in voters:
            raise _wrong(config, name, "id@host:port, each id once, separated by commas")
        voters[int(node)] = Voter(int(node), host, port)
    return tuple(voters[node] for node in sorted(voters))


def parse_bootstrap(config: Config) -> tuple[tuple[str, int], ...]:
    """(host, port) of `controller.quorum.bootstrap.servers`. Raises ConfigError."""
    name = "controller.quorum.bootstrap.servers"
    servers = []
    for text in config.list(name):
        host, port = split_address(text)
        if port is None or not host:
            raise _wrong(config, name, "host:port, separated by commas")
        servers.append((host, port))
    return tuple(servers)


def _wrong(config: Config, name: str, allowed: str) -> ConfigError:
    return ConfigError(name, config.text(name), config.origin(name), allowed)
