"""Listeners: what is bound, what is advertised, and which contradictions are refused."""

from __future__ import annotations

import pytest

from blumfeld.config.listeners import (
    Endpoint,
    Listeners,
    Voter,
    check_protocols,
    parse_bootstrap,
    parse_listeners,
    parse_voters,
    split_address,
)
from blumfeld.config.sources import load
from blumfeld.config.values import ConfigError

_MAP = "listener.security.protocol.map=EXTERNAL:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SSL"


def listeners(*settings: str) -> Listeners:
    return parse_listeners(load(settings=settings))


def test_the_default_is_one_plain_listener_that_advertises_what_was_dialled() -> None:
    found = listeners()
    assert found == Listeners((Endpoint("PLAINTEXT", "", 9092, "PLAINTEXT"),), (), {}, "PLAINTEXT")
    assert str(found.broker[0]) == "PLAINTEXT://:9092"


def test_a_node_of_both_roles() -> None:
    found = listeners(
        "listeners=PLAINTEXT://:9092,CONTROLLER://[::1]:9093",
        "advertised.listeners=PLAINTEXT://broker-1:19092",
        "controller.listener.names=CONTROLLER",
    )
    assert found.broker == (Endpoint("PLAINTEXT", "", 9092, "PLAINTEXT"),)
    assert found.controller == (Endpoint("CONTROLLER", "::1", 9093, "PLAINTEXT"),)
    assert found.advertised == {"PLAINTEXT": Endpoint("PLAINTEXT", "broker-1", 19092, "PLAINTEXT")}
    assert (found.inter_broker, str(found.controller[0])) == ("PLAINTEXT", "CONTROLLER://[::1]:9093")


def test_named_listeners_by_their_map() -> None:
    found = listeners(
        _MAP,
        "listeners=external://0.0.0.0:9092,INTERNAL://:29092,SECURE://:9094",
        "advertised.listeners=EXTERNAL://localhost:9092,INTERNAL://kafka:29092",
        "inter.broker.listener.name=internal",
    )
    assert [endpoint.name for endpoint in found.broker] == ["EXTERNAL", "INTERNAL", "SECURE"]
    assert [endpoint.security_protocol_id for endpoint in found.broker] == [0, 0, 1]
    assert found.inter_broker == "INTERNAL"
    assert set(found.advertised) == {"EXTERNAL", "INTERNAL"}


def test_the_inter_broker_listener_is_found_by_its_protocol() -> None:
    assert listeners(_MAP, "listeners=SECURE://:1,INTERNAL://:2").inter_broker == "INTERNAL"
    found = listeners(_MAP, "listeners=SECURE://:1,INTERNAL://:2", "security.inter.broker.protocol=SSL")
    assert found.inter_broker == "SECURE"


def test_a_controller_alone() -> None:
    found = listeners(
        "process.roles=controller", "listeners=CONTROLLER://:9093", "controller.listener.names=CONTROLLER"
    )
    bound = (Endpoint("CONTROLLER", "", 9093, "PLAINTEXT"),)
    assert found == Listeners((), bound, {}, None, bound)


def test_controller_listeners_are_advertised_to_nodes_but_not_to_clients() -> None:
    found = listeners(
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners=PLAINTEXT://kafka-1:9092,CONTROLLER://kafka-1:19093",
        "controller.listener.names=CONTROLLER",
    )
    assert found.controller == (Endpoint("CONTROLLER", "", 9093, "PLAINTEXT"),)
    assert found.controller_advertised == (Endpoint("CONTROLLER", "kafka-1", 19093, "PLAINTEXT"),)
    assert set(found.advertised) == {"PLAINTEXT"}


def test_a_broker_alone_names_the_controllers_listener_without_having_it() -> None:
    found = listeners("process.roles=broker", "listeners=PLAINTEXT://:9092", "controller.listener.names=CONTROLLER")
    assert (len(found.broker), found.controller) == (1, ())


def test_one_port_may_serve_both_address_families() -> None:
    assert len(listeners(_MAP, "listeners=EXTERNAL://127.0.0.1:9092,INTERNAL://[::1]:9092").broker) == 2
    assert len(listeners(_MAP, "listeners=EXTERNAL://:0,INTERNAL://:0").broker) == 2


@pytest.mark.parametrize(
    ("settings", "name", "which"),
    [
        (["listeners=SSL://:9092"], "listeners", "SSL has SSL"),
        (["listeners=PLAINTEXT://:1,SASL_SSL://:2"], "listeners", "SASL_SSL has SASL_SSL"),
        (["listeners=A://:1", "listener.security.protocol.map=A:SASL_PLAINTEXT"], "listeners", "A has SASL_PLAINTEXT"),
        (
            ["listener.security.protocol.map=PLAINTEXT:PLAINTEXT,C:SSL", "controller.listener.names=C"],
            "controller.listener.names",
            "C has SSL",
        ),
    ],
)
def test_no_listener_is_plain_that_was_not_to_be(settings: list[str], name: str, which: str) -> None:
    with pytest.raises(ConfigError, match=f"PLAINTEXT, the only one served; {which}$") as refusal:
        check_protocols(load(settings=settings))
    assert refusal.value.name == name


def test_protocols_of_listeners_that_are_not_bound_do_not_matter() -> None:
    check_protocols(
        load(settings=[_MAP, "listeners=EXTERNAL://:1,CONTROLLER://:2", "controller.listener.names=CONTROLLER"])
    )


@pytest.mark.parametrize(
    ("settings", "name", "allowed"),
    [
        (["listeners=PLAINTEXT:9092"], "listeners", "NAME://host:port"),
        (["listeners=PLAINTEXT://host"], "listeners", "NAME://host:port"),
        (["listeners=PLAINTEXT://host:70000"], "listeners", "NAME://host:port"),
        (["listeners=OTHER://:9092"], "listeners", "of names in listener.security.protocol.map: PLAINTEXT"),
        (["listeners=PLAINTEXT://:1,PLAINTEXT://:2"], "listeners", "distinct names"),
        (["listeners=PLAINTEXT://:1,SSL://:1"], "listeners", "distinct ports"),
        (["listeners=C://:1", "controller.listener.names=C"], "listeners", "at least one listener that is not in"),
        (["listeners=PLAINTEXT://:1", "controller.listener.names=C"], "controller.listener.names", "among the names"),
        (
            ["listeners=PLAINTEXT://:1,C://:2", "controller.listener.names=C", "process.roles=broker"],
            "listeners",
            "without controller listeners",
        ),
        (["advertised.listeners=PLAINTEXT://0.0.0.0:9092"], "advertised.listeners", "0.0.0.0"),
        (["advertised.listeners=PLAINTEXT://:9092"], "advertised.listeners", "clients can connect to"),
        (["advertised.listeners=SSL://a:1"], "advertised.listeners", "of names in listeners: PLAINTEXT"),
        (
            ["advertised.listeners=PLAINTEXT://a:1,PLAINTEXT://b:1"],
            "advertised.listeners",
            "distinct names",
        ),
        (["listener.security.protocol.map=A:TLS"], "listener.security.protocol.map", "PROTOCOL one of PLAINTEXT, SSL"),
        (["listener.security.protocol.map=A:SSL,A:SSL"], "listener.security.protocol.map", "each name once"),
        (["inter.broker.listener.name=X"], "inter.broker.listener.name", "the name of a listener of the broker"),
        (
            ["inter.broker.listener.name=PLAINTEXT", "security.inter.broker.protocol=PLAINTEXT"],
            "inter.broker.listener.name",
            "set alone",
        ),
        (["security.inter.broker.protocol=SSL"], "security.inter.broker.protocol", "of a listener of the broker"),
    ],
)
def test_contradictions_are_refused_by_name(settings: list[str], name: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        listeners(*settings)
    assert refusal.value.name == name
    assert allowed in refusal.value.allowed


def test_voters_and_bootstrap_servers() -> None:
    config = load(
        settings=[
            "controller.quorum.voters=3@c:9093,1@a:9093,2@[::1]:9093",
            "controller.quorum.bootstrap.servers=a:1, b:2",
        ]
    )
    assert parse_voters(config) == (Voter(1, "a", 9093), Voter(2, "::1", 9093), Voter(3, "c", 9093))
    assert parse_bootstrap(config) == (("a", 1), ("b", 2))
    assert parse_voters(load()) == ()
    assert parse_bootstrap(load()) == ()


@pytest.mark.parametrize("voters", ["a:1", "x@a:1", "1@a", "1@a:1,1@b:2"])
def test_voters_written_wrongly_are_refused(voters: str) -> None:
    with pytest.raises(ConfigError, match="id@host:port"):
        parse_voters(load(settings=[f"controller.quorum.voters={voters}"]))


def test_bootstrap_servers_written_wrongly_are_refused() -> None:
    with pytest.raises(ConfigError, match="host:port"):
        parse_bootstrap(load(settings=["controller.quorum.bootstrap.servers=a"]))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:1", ("host", 1)),
        (":0", ("", 0)),
        ("[::1]:9", ("::1", 9)),
        ("::1:9", ("::1:9", None)),
        ("host", ("host", None)),
        ("host:", ("host:", None)),
        ("http://host:1", ("http://host:1", None)),
    ],
)
def test_addresses(text: str, address: tuple[str, int | None]) -> None:
    assert split_address(text) == address
