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
from typing import Any

import pytest

from blumfeld.testing import Cluster, Kafka
from blumfeld.testing.kafka import unique_name


def blumfeld(
    *arguments: str, stdin: str | None = None, bootstrap: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"KAFKA_BOOTSTRAP_SERVERS": bootstrap} if bootstrap else {})}
    return subprocess.run(
        [sys.executable, "-m", "blumfeld", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


class Shell:
    """Commands that must succeed, against one broker."""

    def __init__(self, cluster: Cluster) -> None:
        self.servers = cluster.bootstrap_servers

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = blumfeld(*arguments, stdin=stdin, bootstrap=self.servers)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def shell(kafka_broker: Cluster) -> Shell:
    return Shell(kafka_broker)


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
        assert following.wait(10) == 0


def test_groups_and_their_lag(shell: Shell, kafka: Kafka) -> None:
    from kafka import KafkaConsumer, TopicPartition

    topic, group = kafka.topic(), unique_name("group")
    kafka.produce(topic, b"1", b"2", b"3")
    consumer = KafkaConsumer(bootstrap_servers=shell.servers, group_id=group, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    while consumer.position(TopicPartition(topic, 0)) < 1:
        consumer.poll(100, max_records=1)
    consumer.commit()
    consumer.close()
    assert f"{group}\tEmpty\tconsumer" in shell("groups") or group in shell("groups")
    (lag,) = shell.json("groups", group)
    assert (lag["topic"], lag["partition"], lag["end"]) == (topic, 0, 3)
    assert lag["committed"] + lag["lag"] == 3
    assert shell("groups", group).splitlines()[0] == "topic\tpartition\tcommitted\tend\tlag"


def test_config_lists_every_property_and_shows_sources(shell: Shell) -> None:
    assert "log.segment.bytes\tint\t1073741824" in shell("config", "--list")
    (shown,) = shell.json("config", "log.segment.bytes", "--set", "log.segment.bytes=2000000")
    assert shown == {"name": "log.segment.bytes", "value": "2000000", "source": "--set"}


def test_a_cluster_that_is_not_there_is_said_in_one_line() -> None:
    done = blumfeld("topics", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no broker could be reached")
    assert "--bootstrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_topic_and_a_wrong_address_are_said() -> None:
    assert "expected host:port" in blumfeld("topics", "-b", "nonsense:port").stderr


def test_up_serves_until_interrupted(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [sys.executable, "-m", "blumfeld", "up", "--port", "0", "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = json.loads(ready.read_text())
        assert found["brokers"][0]["pid"] == up.pid
        assert blumfeld("topics", "-b", found["bootstrap_servers"]).returncode == 0
        up.send_signal(signal.SIGINT)
        assert up.wait(10) == 0
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
