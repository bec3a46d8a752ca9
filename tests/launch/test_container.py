"""Dockerfile and docker-compose.yml, as far as a machine without a Docker engine can tell.

Every name and port in them is known to the options table, and the entry point runs with exactly that environment as
three local processes: only addresses are replaced, since containers have their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from blumfeld.config.listeners import parse_listeners, parse_voters
from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.config.sources import environment_properties, load
from blumfeld.launch.ports import free_port
from blumfeld.launch.ready import Ready
from blumfeld.testing import Kafka

ROOT = Path(__file__).parents[2]
NOT_KAFKA = {"CLUSTER_ID", "PYTHONUNBUFFERED"}
READY_S = 60.0
PATIENCE_S = 60.0


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of every line, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line and not line.startswith("#")]


def image_environment() -> dict[str, str]:
    (arguments,) = [arguments for instruction, arguments in dockerfile() if instruction == "ENV"]
    return dict(part.split("=", 1) for part in arguments.split())


@pytest.fixture(scope="module")
def services() -> Mapping[str, Any]:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: Mapping[str, Any] = compose["services"]
    assert set(compose["volumes"]) == {volume.split(":")[0] for s in found.values() for volume in s["volumes"]}
    return found


def environments(services: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {**image_environment(), **{k: str(v) for k, v in service["environment"].items()}}
        for name, service in services.items()
    }


def test_the_image_is_slim_not_root_and_starts_the_broker() -> None:
    instructions = dict(dockerfile())  # the last of each
    assert all(arguments.split()[0].endswith("-slim") for name, arguments in dockerfile() if name == "FROM")
    assert instructions["USER"] not in ("root", "0")
    assert instructions["ENTRYPOINT"] == '["blumfeld", "up"]'
    assert '"blumfeld", "health"' in instructions["HEALTHCHECK"]
    (made,) = [arguments for name, arguments in dockerfile() if "install -d -o blumfeld" in arguments]
    assert {instructions["VOLUME"], "/var/lib/kafka/data"} <= set(made.split())
    for source in [a.split()[:-1] for i, a in dockerfile() if i == "COPY" and not a.startswith("--from")]:
        assert all((ROOT / path).exists() for path in source)


def test_every_variable_is_a_property_and_every_port_is_listened_on(services: Mapping[str, Any]) -> None:
    for name, environment in environments(services).items():
        properties = environment_properties({k: v for k, v in environment.items() if k not in NOT_KAFKA})
        assert not [p for p in properties if p not in BROKER_OPTIONS]
        config = load(profile="durable", brokers=3, environment=environment)
        assert not config.warnings
        listeners = parse_listeners(config)
        assert {e.name: e.port for e in (*listeners.broker, *listeners.controller)} == {
            "PLAINTEXT": 9092,
            "HOST": 9094,
            "CONTROLLER": 9093,
        }
        (published,) = services[name]["ports"]
        outside, inside = published.split(":")
        assert inside == "9094"
        assert listeners.advertised["HOST"].port == int(outside)
        assert listeners.advertised["PLAINTEXT"].host == services[name]["hostname"] == name
        assert (config.node_id, name, 9093) in parse_voters(config)
        assert services[name]["volumes"][0].endswith(f":{config.log_dirs[0]}")


class Local(NamedTuple):
    """The services as local processes, by where each of their ports is here."""

    ports: Mapping[tuple[str, str], int]
    environments: list[Mapping[str, str]]

    def all_at(self, port: str) -> list[str]:
        """The addresses of all services' listeners on that port."""
        return [f"127.0.0.1:{number}" for (_, inside), number in self.ports.items() if inside == port]


@pytest.fixture
def local(services: Mapping[str, Any], tmp_path: Path) -> Iterator[Local]:
    """The services' entry points as local processes."""
    given = environments(services)
    taken: set[int] = set()
    ports: dict[tuple[str, str], int] = {}
    for name in given:
        for port in ("9092", "9093", "9094"):
            ports[name, port] = free_port("127.0.0.1", taken)
            taken.add(ports[name, port])
    children = []
    environment_of: list[Mapping[str, str]] = []
    ready = {name: str(tmp_path / f"{name}.ready") for name in given}
    for name, environment in given.items():
        mine = {k: _localized(v, name, ports) for k, v in environment.items()}
        mine["KAFKA_LOG_DIRS"] = str(tmp_path / name)
        environment_of.append(mine)
        log = open(tmp_path / f"{name}.log", "wb")  # noqa: SIM115  the child has it
        with log:
            children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "blumfeld", "up", "--ready-file", ready[name], "--stop-with-stdin"],
                    env={**{k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}, **mine},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            )
    deadline = time.monotonic() + READY_S
    while not all(Ready.read(path) for path in ready.values()):
        logs = "\n".join((tmp_path / f"{name}.log").read_text()[-1500:] for name in given)
        assert time.monotonic() < deadline, logs
        assert all(child.poll() is None for child in children), logs
        time.sleep(0.05)
    yield Local(ports, environment_of)
    for child in children:
        child.terminate()
    for child in children:
        assert child.wait(PATIENCE_S) == 0
        assert child.stdin is not None
        child.stdin.close()


def _localized(value: str, own: str, ports: Mapping[tuple[str, str], int]) -> str:
    """Addresses of containers as addresses of this machine; everything else stays."""
    value = re.sub(r"(broker-\d):(\d+)", lambda m: f"127.0.0.1:{ports[m[1], m[2]]}", value)
    value = re.sub(r"//(?:0\.0\.0\.0)?:(\d+)", lambda m: f"//127.0.0.1:{ports[own, m[1]]}", value)
    return re.sub(r"localhost:\d+", f"127.0.0.1:{ports[own, '9094']}", value)


def in_sync(kafka: Kafka, topic: str, partition: int) -> bool:
    return kafka.isr(topic, partition) == [1, 2, 3]


def test_three_processes_with_that_environment_are_a_cluster(local: Local) -> None:
    with Kafka(",".join(local.all_at("9094")), timeout_s=PATIENCE_S) as kafka:
        topic = kafka.topic(partitions=3)
        for partition in range(3):
            kafka.wait_until(partial(in_sync, kafka, topic, partition), f"all are in sync in partition {partition}")
        assert set(kafka.leaders(topic).values()) == {1, 2, 3}
        for partition in range(3):
            kafka.produce(topic, b"x", partition=partition)
        assert len(kafka.consume(topic)) == 3


def test_the_health_check_tells_a_node_that_serves_from_one_that_does_not(local: Local) -> None:
    check = json.loads(dict(dockerfile())["HEALTHCHECK"].partition("CMD")[2])

    def code(environment: Mapping[str, str]) -> int:
        given = {k: v for k, v in os.environ.items() if not k.startswith("KAFKA_")}
        command = [sys.executable, "-m", *check, "--timeout", str(PATIENCE_S)]
        return subprocess.run(
            command, env={**given, **environment}, capture_output=True, timeout=2 * PATIENCE_S, check=False
        ).returncode

    assert [code(environment) for environment in local.environments] == [0, 0, 0]
    port = free_port("127.0.0.1", set(local.ports.values()))
    nobody = {**local.environments[0], "KAFKA_LISTENERS": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:0"}
    nobody["KAFKA_INTER_BROKER_LISTENER_NAME"] = "PLAINTEXT"
    del nobody["KAFKA_ADVERTISED_LISTENERS"]
    assert code(nobody) == 1
