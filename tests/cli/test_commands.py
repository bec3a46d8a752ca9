"""The commands, as a user calls them, against a real broker: their text, and their `--json`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blumfeld.config.options import BROKER_OPTIONS
from blumfeld.testing import Cluster, Kafka
from blumfeld.testing.kafka import unique_name
from tests.cli.shell import PATIENCE_S, Shell, blumfeld, commit


def test_topics_are_created_listed_described_and_deleted(shell: Shell) -> None:
    name = unique_name("cli")
    assert shell("topics", "create", name, "-p", "3", "-c", "retention.ms=1000") == f"created {name}\n"
    assert f"{name}\t3\t1" in shell("topics").splitlines()
    assert {"topic": name, "partitions": 3, "replicas": 1} in shell.json("topics")
    text = shell("describe", name)
    assert "retention.ms=1000" in text
    assert "partition\tleader\tepoch\treplicas\tisr" in text
    described = shell.json("describe", name)
    assert described["configs"] == {"retention.ms": "1000"}
    assert [p["partition"] for p in described["partitions"]] == [0, 1, 2]
    assert described["partitions"][0]["isr"] == [1]
    assert shell("topics", "delete", name) == f"deleted {name}\n"
    assert name not in shell("topics")


def test_lines_are_produced_and_consumed(shell: Shell) -> None:
    name = unique_name("cli")
    shell("produce", name, "--key-separator", ":", stdin="a:1\nb:2\nplain\n")
    assert sorted(shell("consume", name, "--from-start").splitlines()) == ["a\t1", "b\t2", "plain"]


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_values_are_produced_once_however_they_are_acknowledged(shell: Shell, acks: str) -> None:
    name = unique_name("cli")
    shell("produce", name, "a", "b", "--acks", acks)
    assert shell("consume", name, "--from-start") == "a\nb\n"


def test_headers_keys_formats_and_json(shell: Shell) -> None:
    name = unique_name("cli")
    shell("produce", name, "hello", "-k", "k", "-H", "trace=x", "--codec", "zstd")
    assert shell("consume", name, "--from-start", "--headers") == "trace=x\tk\thello\n"
    assert shell("consume", name, "--from-start", "--format", "{partition}/{offset} {value}") == "0/0 hello\n"
    record = json.loads(shell("consume", name, "--from-start", "--json"))
    assert (record["key"], record["value"], record["headers"]) == ("k", "hello", {"trace": "x"})


def test_consuming_from_an_offset_and_a_count(shell: Shell) -> None:
    name = unique_name("cli")
    shell("produce", name, *[str(n) for n in range(10)])
    assert shell("consume", name, "--offset", "7") == "7\n8\n9\n"
    assert shell("consume", name, "--from-start", "-n", "2") == "0\n1\n"


def test_following_prints_records_as_they_come(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    with subprocess.Popen(
        [sys.executable, "-m", "blumfeld", "consume", topic, "-b", shell.servers, "--from-start", "--follow"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as following:
        assert following.stdout is not None
        for value in (b"one", b"two"):
            kafka.produce(topic, value)
            assert following.stdout.readline() == f"{value.decode()}\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE_S) == 0


def test_a_follower_goes_on_when_the_broker_was_gone_for_a_while(tmp_path: Path) -> None:
    with Cluster(data=tmp_path / "data") as cluster:
        topic = cluster.kafka.topic()
        with subprocess.Popen(
            [sys.executable, "-m", "blumfeld", "consume", topic, "-b", cluster.bootstrap_servers, "--from-start", "-f"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as following:
            assert following.stdout is not None
            cluster.kafka.produce(topic, b"before")
            assert following.stdout.readline() == "before\n"
            cluster.broker.kill()
            cluster.broker.restart()
            cluster.kafka.produce(topic, b"after")
            assert following.stdout.readline() == "after\n"
            following.send_signal(signal.SIGINT)
            assert following.wait(PATIENCE_S) == 0


def test_lines_are_produced_as_they_come_whatever_their_bytes(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    with subprocess.Popen(
        [sys.executable, "-m", "blumfeld", "produce", topic, "-b", shell.servers],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as producing:
        assert producing.stdin is not None
        assert producing.stderr is not None
        producing.stdin.write(b"\xff\xfe\n")
        producing.stdin.flush()
        kafka.wait_until(lambda: kafka.offsets(topic)[0] == 1, "the first line is there")
        producing.stdin.write(b"two\r\n\nlast")
        producing.stdin.close()
        assert producing.stderr.read() == f"produced 4 records to {topic}\n".encode()
        assert producing.wait(PATIENCE_S) == 0
    assert [record.value for record in kafka.consume(topic)] == [b"\xff\xfe", b"two", b"", b"last"]


def test_many_lines_of_a_file_go_in_batches_that_a_broker_takes(shell: Shell, kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    (tmp_path / "lines").write_bytes(b"x" * 3000 + b"\n" + b"y\n" * 20_000 + (b"z" * 10_000 + b"\n") * 200)
    with open(tmp_path / "lines", "rb") as lines:
        done = subprocess.run(
            [sys.executable, "-m", "blumfeld", "produce", topic, "-b", shell.servers],
            stdin=lines,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
    assert done.stderr == f"produced 20201 records to {topic}\n"
    assert kafka.offsets(topic) == {0: 20_201}


def test_groups_and_their_lag(shell: Shell, kafka: Kafka) -> None:
    topic, group = kafka.topic(), unique_name("group")
    kafka.produce(topic, b"1", b"2", b"3", partition=0)
    commit(shell.servers, group, topic, 1)
    assert any(line.split("\t")[:2] == [group, "Empty"] for line in shell("groups").splitlines())
    assert {"group": group, "state": "Empty"}.items() <= next(
        row.items() for row in shell.json("groups") if row["group"] == group
    )
    assert shell("groups", group) == f"topic\tpartition\tcommitted\tend\tlag\n{topic}\t0\t1\t3\t2\n"
    assert shell.json("groups", group) == [{"topic": topic, "partition": 0, "committed": 1, "end": 3, "lag": 2}]


def test_config_lists_every_property_and_shows_sources(shell: Shell) -> None:
    listed = shell("config", "--list")
    assert listed.startswith("name\ttype\tdefault\tmeaning\n")
    assert "log.segment.bytes\tint\t1073741824" in listed
    assert {row["name"] for row in shell.json("config", "--list")} == set(BROKER_OPTIONS)
    assert "num.partitions\t7\t--set\n" in shell("config", "--set", "num.partitions=7")
    assert "  here: 2 (environment)" in blumfeld("config", "num.partitions", KAFKA_NUM_PARTITIONS="2").stdout
    (shown,) = shell.json("config", "log.segment.bytes", "--set", "log.segment.bytes=2000000")
    assert shown == {"name": "log.segment.bytes", "value": "2000000", "source": "--set"}


def test_a_cluster_that_is_not_there_is_said_with_what_to_do() -> None:
    done = blumfeld("topics", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: no broker could be reached: 127.0.0.1:1: nobody listens\n"
        "asked 127.0.0.1:1: start a broker there (blumfeld up), or name another with --bootstrap\n"
    )
    assert "expected host:port" in blumfeld("topics", "-b", "nonsense:port").stderr


@pytest.mark.parametrize("command", ["describe", "consume", "topics delete"])
def test_an_unknown_topic_is_said_with_those_of_a_similar_name(shell: Shell, kafka: Kafka, command: str) -> None:
    topic = kafka.topic()
    said = shell.fails(*command.split(), f"{topic}x")
    assert said.startswith(f"Error: topic {topic}x: UNKNOWN_TOPIC_OR_PARTITION: ")
    assert f"did you mean {topic}" in said
    assert "`blumfeld topics` lists those" in shell.fails(*command.split(), "1.2.3")


def test_an_unknown_group_is_said_with_those_of_a_similar_name(shell: Shell, kafka: Kafka) -> None:
    group = unique_name("group")
    commit(shell.servers, group, kafka.topic(), 0)
    assert f"did you mean {group}" in shell.fails("groups", f"{group}x")
    assert shell.fails("groups", "?") == "Error: there is no group ?\n`blumfeld groups` lists those that there are\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("topic",), "There is no command 'topic': did you mean topics?"),
        (("?",), "blumfeld --help lists the commands"),
        (("consume", "t", "--format", "{nope}"), "'nope'; there are {topic} {partition}"),
        (("consume", "t", "--format", "{"), "is no format"),
        (("consume", "t", "--format", "{0}"), "is no format"),
        (("consume", "t", "--count", "0"), "0 is not in the range"),
        (("produce", "t", "v", "-H", "trace"), "'trace' is not written as NAME=VALUE"),
        (("topics", "create", "t", "-c", "retention.ms"), "'retention.ms' is not written as NAME=VALUE"),
        (("topics", "create", "t", "-c", "retention.ms=soon"), "Invalid value soon for configuration retention.ms"),
        (("topics", "create", "bad/name"), "INVALID_TOPIC_EXCEPTION"),
        (("produce", "plain", "v", "-p", "7"), "topic plain has no partition 7, only 1"),
        (("consume", "plain", "-p", "7"), "topic plain has no partition 7, only 1"),
        (("consume", "plain", "-p", "7", "--offset", "0"), "topic plain has no partition 7, only 1"),
        (("config", "num.partition"), "there is no property num.partition: did you mean num.partitions?"),
        (("config", "?"), "`blumfeld config --list` shows all"),
        (("config", "--set", "num.partitions=none"), "num.partitions: 'none' (--set) is not allowed"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert said in shell.fails(*arguments)


def test_an_unknown_property_is_a_warning(shell: Shell) -> None:
    done = blumfeld("config", "--set", "log.segment.byte=1", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["source"]) == (0, "profile dev")
    assert done.stderr == (
        "Warning: log.segment.byte (--set) is not known here and has no effect; did you mean log.segment.bytes?\n"
    )


def test_up_serves_until_interrupted(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [sys.executable, "-m", "blumfeld", "up", "--port", "0", "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        deadline = time.monotonic() + PATIENCE_S
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = json.loads(ready.read_text())
        assert found["brokers"][0]["pid"] == up.pid
        assert blumfeld("topics", "-b", found["bootstrap_servers"]).returncode == 0
        up.send_signal(signal.SIGINT)
        assert up.wait(PATIENCE_S) == 0
        assert up.stdout is not None
        assert found["bootstrap_servers"] in up.stdout.read()


def test_a_busy_port_names_who_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = blumfeld("up", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "log.segment.bytes=lots"), "log.segment.bytes: 'lots' (--set) is not allowed"),
        (("--node", "2"), "--node needs the --data"),
        (("--set", "nonsense"), "name=value"),
    ],
)
def test_a_wrong_call_says_what_is_allowed(arguments: tuple[str, ...], message: str) -> None:
    done = blumfeld("up", "--port", "0", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_directory_is_the_same_cluster_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Cluster(data=data) as first:
        topic = first.kafka.topic()
        first.kafka.produce(topic, b"kept")
        servers = first.bootstrap_servers
    with Cluster(data=data) as again:
        assert again.bootstrap_servers == servers
        assert [record.value for record in again.kafka.consume(topic)] == [b"kept"]
