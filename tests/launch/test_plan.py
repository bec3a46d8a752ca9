"""Plans: ports, identities, and what a directory keeps between starts."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from blumfeld.config.sources import load
from blumfeld.config.values import ConfigError
from blumfeld.env.disk import RealDisk
from blumfeld.launch import ports
from blumfeld.launch.plan import PLAN_FILE, Plan, PlanError
from blumfeld.launch.ports import FIRST_PORT, LAST_PORT, MAX_CLAIMS, free_port
from blumfeld.launch.ready import Ready, ReadyBroker
from tests.launch.brokers import refused


def test_brokers_follow_the_first_port() -> None:
    plan = Plan.make(brokers=3, port=19092)
    assert [(node.id, node.port) for node in plan.nodes] == [(1, 19092), (2, 19093), (3, 19094)]
    assert len({node.controller_port for node in plan.nodes} | {19092, 19093, 19094}) == 6


def test_free_ports_are_distinct_and_below_those_of_outgoing_connections() -> None:
    plan = Plan.make(brokers=5)
    found = {port for node in plan.nodes for port in (node.port, node.controller_port)}
    assert len(found) == 10
    assert all(FIRST_PORT <= port <= LAST_PORT for port in found)


def between(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Ports are picked from these only."""
    monkeypatch.setattr(ports, "FIRST_PORT", first)
    monkeypatch.setattr(ports, "LAST_PORT", last)


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        between(monkeypatch, port, port)
        with pytest.raises(OSError, match="no free port"):
            free_port("127.0.0.1")


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed by names of Linux's abstract sockets")
def test_what_one_process_has_picked_no_other_picks(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port("127.0.0.1") // 200 * 200
    between(monkeypatch, first, first + 199)
    mine = [free_port("127.0.0.1") for _ in range(40)]
    script = (
        "from blumfeld.launch import ports\n"
        f"ports.FIRST_PORT, ports.LAST_PORT = {first}, {first + 199}\n"
        "print(*[ports.free_port('127.0.0.1') for _ in range(40)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert len({*mine, *map(int, done.stdout.split())}) == 80


def test_only_the_last_picks_are_claimed() -> None:
    for _ in range(MAX_CLAIMS + 10):
        free_port("127.0.0.1")
    assert len(ports._claims) == (MAX_CLAIMS if sys.platform == "linux" else 0)


def test_a_directory_keeps_its_cluster(tmp_path: Path) -> None:
    data = str(tmp_path)
    first = Plan.make(brokers=3, data=data, settings=("a=b",))
    first.save(str(tmp_path / PLAN_FILE))
    again = Plan.make(data=data, settings=("c=d",))
    assert again.cluster_id == first.cluster_id
    assert again.nodes == first.nodes
    assert again.settings == ("c=d",)
    assert [node.directory for node in again.nodes] == [str(tmp_path / str(i)) for i in (1, 2, 3)]
    assert [node.port for node in Plan.make(data=data, port=20000).nodes] == [20000, 20001, 20002]


def test_another_number_of_brokers_is_refused(tmp_path: Path) -> None:
    Plan.make(brokers=3, data=str(tmp_path)).save(str(tmp_path / PLAN_FILE))
    with pytest.raises(PlanError, match=r"cluster of 3 broker.*leave --brokers out"):
        Plan.make(brokers=1, data=str(tmp_path))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\x00",
        b'"nodes"',
        b'{"durable": true, "nodes": []}',
        b'{"nodes": [{"id": 1}]}',
    ],
)
def test_a_plan_that_does_not_read_is_refused(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / PLAN_FILE).write_bytes(damaged)
    with pytest.raises(PlanError, match=f"{tmp_path}/{PLAN_FILE} does not read .*put it back from a backup"):
        Plan.make(data=str(tmp_path))
    assert (tmp_path / PLAN_FILE).read_bytes() == damaged


@pytest.mark.parametrize(("name", "value"), [("port", '"x"'), ("controller_port", "null"), ("directory_id", '"short"')])
def test_a_plan_with_a_field_that_makes_no_sense_is_refused(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / PLAN_FILE
    Plan.make(data=str(tmp_path), port=9092).save(str(file))
    text = re.sub(rf'"{name}": [^,\n]+', f'"{name}": {value}', file.read_text())
    file.write_text(text)
    with pytest.raises(PlanError, match="does not read"):
        Plan.load(str(file))


def test_a_plan_that_was_saved_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(RealDisk, "sync_directory", lambda self, path: synced.append(path))
    Plan.make().save(str(tmp_path / "new" / PLAN_FILE))
    assert synced == [str(tmp_path), str(tmp_path / "new")]


def test_a_node_that_the_plan_does_not_have() -> None:
    with pytest.raises(PlanError, match="no broker 4: this cluster has 1 to 3"):
        Plan.make(brokers=3).node(4)


def test_the_properties_of_a_node_are_a_valid_configuration() -> None:
    plan = Plan.make(brokers=3, data="/nowhere")
    config = load(profile="dev", brokers=3, planned=plan.properties(2))
    assert config.node_id == 2
    assert config.int("default.replication.factor") == 3
    assert config.log_dirs == ["/nowhere/2"]
    assert not config.warnings


def test_a_configured_node_takes_the_cluster_id_of_its_directory(tmp_path: Path) -> None:
    settings = [f"log.dirs={tmp_path}", "node.id=7", "listeners=PLAINTEXT://:9092", "process.roles=broker"]
    config = load(profile="durable", settings=settings)
    (tmp_path / "meta.properties").write_text("version=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\nnode.id=7\n")
    assert Plan.configured(config, None, "durable").cluster_id == "4L6g3nShT-eMCtK--X86sw"
    plan = Plan.configured(config, "AAAAAAAAQAC5AAAAAAAAAA", "durable")
    assert (plan.cluster_id, plan.nodes[0].id, plan.nodes[0].port) == ("AAAAAAAAQAC5AAAAAAAAAA", 7, 9092)


def test_a_ready_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "ready.json")
    assert Ready.read(path) is None
    ready = Ready("id", (ReadyBroker(1, 11, "127.0.0.1", 9092), ReadyBroker(2, 12, "::1", 9093)))
    ready.write(path)
    assert Ready.read(path) == ready
    assert ready.bootstrap_servers == "127.0.0.1:9092,[::1]:9093"
    assert [p.name for p in tmp_path.iterdir()] == ["ready.json"]


@pytest.mark.parametrize("name", ["node.id", "broker.id"])
def test_another_node_id_than_the_planned_one_is_refused(name: str) -> None:
    said = refused("--set", f"{name}=7")
    assert f"{name}: '7' (--set) is not allowed" in said
    assert "this is node 1" in said


def test_a_cluster_id_that_meta_properties_cannot_keep_is_refused() -> None:
    with pytest.raises(ConfigError, match="CLUSTER_ID"):
        Plan.configured(load(profile="none"), "back\\slash", "none")
