"""Who a new quorum's first voters are, where nobody says it."""

from __future__ import annotations

import errno
import socket

import pytest

from blumfeld.cluster.raft.checkpoint import found_in
from blumfeld.config.sources import load
from blumfeld.env.clock import SystemClock
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.env.net import RealNetwork
from blumfeld.launch.errors import StartError
from blumfeld.launch.formatting import (
    first_voters,
    format_directory,
    format_node,
    format_quorum,
    metadata_directory,
    parse_initial_controllers,
)
from blumfeld.launch.plan import Plan
from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.storage.checkpoint import META_PROPERTIES, decode_properties

DIRECTORY = bytes(range(16))
QUICK_START = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "advertised.listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "localhost:9093",
}
"""The properties file of Apache Kafka's quick start."""


def voters(**properties: str) -> list[int]:
    given = {**QUICK_START, **{name.replace("_", "."): value for name, value in properties.items()}}
    config = load(settings=[f"{name}={value}" for name, value in given.items() if value])
    plan = Plan.configured(config, None, "durable")
    return [voter.id for voter in first_voters(plan, 1, config, DIRECTORY)]


@pytest.mark.parametrize("servers", ["localhost:9093", "127.0.0.1:9093", f"{socket.gethostname()}:9093", ""])
def test_a_node_whose_bootstrap_servers_name_nobody_else_is_a_quorum(servers: str) -> None:
    assert voters(controller_quorum_bootstrap_servers=servers) == [1]


def test_an_advertised_address_is_our_own() -> None:
    advertised = "PLAINTEXT://here:9092,CONTROLLER://here:19093"
    assert voters(advertised_listeners=advertised, controller_quorum_bootstrap_servers="here:19093") == [1]


@pytest.mark.parametrize("servers", ["elsewhere:9093", "localhost:9094", "localhost:9093,elsewhere:9093"])
def test_where_others_are_named_the_quorum_is_not_ours_to_make(servers: str) -> None:
    assert voters(controller_quorum_bootstrap_servers=servers) == []


def test_neither_a_broker_alone_nor_a_static_quorum_has_first_voters() -> None:
    assert voters(process_roles="broker", listeners="PLAINTEXT://:9092", advertised_listeners="") == []
    assert voters(controller_quorum_voters="1@localhost:9093", controller_quorum_bootstrap_servers="") == []


def test_the_nodes_of_a_plan_are_voters() -> None:
    plan = Plan.make(brokers=3)
    config = load(profile="dev", brokers=3, planned=plan.properties(2))
    found = first_voters(plan, 2, config, DIRECTORY)
    assert [voter.key.directory_id for voter in found] == [
        plan.node(1).directory_id,
        DIRECTORY,
        plan.node(3).directory_id,
    ]


def test_a_metadata_log_that_is_there_keeps_its_voters() -> None:
    env, plan = Env.in_memory(), Plan.make()
    config = load(profile="dev", planned=plan.properties(1))
    directory = metadata_directory(config)
    found = first_voters(plan, 1, config, DIRECTORY)
    env.disk.make_directories(directory)
    env.disk.write_file_atomically(f"{directory}/{0:020}.log", b"")
    format_quorum(env, directory, found)
    assert env.disk.list(directory) == [f"{0:020}.log"]
    env.disk.remove(f"{directory}/{0:020}.log")
    format_quorum(env, directory, found)
    assert env.disk.list(directory) == [f"{0:020}-{0:010}.checkpoint"]


@pytest.mark.parametrize("seed", range(10))
def test_what_is_formatted_survives_a_power_cut_with_its_directories(seed: int) -> None:
    disk, plan = FaultyDisk(seed), Plan.make(brokers=3, data="/new/data")
    env = Env(SystemClock(), SeededEntropy(seed), disk, RealNetwork())
    config = load(profile="durable", brokers=3, planned=plan.properties(1))
    format_directory(plan, 1, config, env)
    format_quorum(env, metadata_directory(config), first_voters(plan, 1, config, DIRECTORY))
    config = load(profile="durable", brokers=3, planned=plan.properties(2))
    format_node(plan, 2, config, env, voters=None, ignore_formatted=False)
    disk.crash()
    for node in "1", "2":
        assert disk.exists(f"/new/data/{node}/meta.properties")
        assert disk.exists(f"/new/data/{node}/__cluster_metadata-0/{0:020}-{0:010}.checkpoint")


def test_a_format_that_was_interrupted_is_done_again() -> None:
    disk = FaultyDisk(1)
    env = Env(SystemClock(), SeededEntropy(1), disk, RealNetwork())
    config = load(settings=[f"{name}={value}" for name, value in {**QUICK_START, "log.dirs": "/data"}.items()])

    def format_it() -> None:
        plan = Plan.configured(config, None, "durable")  # with ids of its own each time
        format_node(plan, 1, config, env, voters=None, ignore_formatted=False)

    disk.inject(errno.ENOSPC, "open", META_PROPERTIES)
    with pytest.raises(OSError, match="No space left"):
        format_it()
    format_it()
    identity = decode_properties(disk.read_file(f"/data/{META_PROPERTIES}"))
    (found,) = found_in(disk, metadata_directory(config)).values()
    assert found.voters is not None
    assert [uuid_to_text(voter.key.directory_id) for voter in found.voters] == [identity["directory.id"]]


def test_initial_controllers_are_written_as_for_apache_kafkas_tool() -> None:
    first, second = uuid_to_text(DIRECTORY), uuid_to_text(DIRECTORY[::-1])
    found = parse_initial_controllers(f"2@[::1]:9093:{second},1@host:9093:{first}")
    assert [(v.id, v.key.directory_id, *v.endpoints[0][1:]) for v in found] == [
        (1, DIRECTORY, "host", 9093),
        (2, DIRECTORY[::-1], "::1", 9093),
    ]


@pytest.mark.parametrize("text", ["", "1", "1@host:9093", "x@host:1:{}", "1@host:{}", "1@host:1:{},1@other:2:{}"])
def test_initial_controllers_written_wrongly_are_refused(text: str) -> None:
    with pytest.raises(StartError, match="id@host:port:directory-id"):
        parse_initial_controllers(text.replace("{}", uuid_to_text(DIRECTORY)))
