"""Configs described and altered, of topics, brokers and what else has some."""

from __future__ import annotations

from typing import Any

from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest
from blumfeld.protocol.messages.describe_configs import DescribeConfigsRequest
from blumfeld.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from blumfeld.protocol.messages.list_config_resources import ListConfigResourcesRequest
from tests.interop.differential.script import Script
from tests.interop.differential.topics import CONFIGS, make

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
Wanted: Any = IncrementalAlterConfigsRequest.Resource


def describe_configs(script: Script) -> None:
    make(script, "configured-1", configs={"retention.ms": "1000"})

    def ask(step: str, *resources: tuple[int, str, list[str] | None], version: int = 4, **more: Any) -> None:
        wanted = [
            DescribeConfigsRequest.Resource(resource_type=kind, resource_name=name, configuration_keys=keys)
            for kind, name, keys in resources
        ]
        script.ask(f"describe configs/{step}", DescribeConfigsRequest(resources=wanted, **more), version)

    ask("nothing")
    ask("a topic", (TOPIC, "configured-1", None), include_synonyms=True)
    ask("some of a topic", (TOPIC, "configured-1", ["retention.ms", "no.such.config"]), include_synonyms=True)
    ask("no names", (TOPIC, "configured-1", []))
    ask("unknown topic", (TOPIC, "nothing", None))
    ask("bad topic name", (TOPIC, "bad/name", None))
    ask("no topic name", (TOPIC, "", None))
    ask(
        "this broker", (BROKER, "1", ["log.retention.ms", "message.max.bytes", "num.partitions"]), include_synonyms=True
    )
    ask("another broker", (BROKER, "2", None))
    ask("a broker without a number", (BROKER, "one", None))
    ask("all brokers", (BROKER, "", None))
    ask("unknown group", (GROUP, "nothing", None), include_synonyms=True)
    ask("no group", (GROUP, "", None))
    ask("client metrics", (METRICS, "nothing", None))
    ask("no client metrics", (METRICS, "", None))
    ask("unknown type", (99, "what", None))
    ask("no type", (0, "what", None))
    ask("the same twice", (TOPIC, "configured-1", ["retention.ms"]), (TOPIC, "configured-1", ["segment.ms"]))
    for version in range(1, 5):
        more = {"include_documentation": True} if version >= 3 else {}
        ask(f"version {version}", (TOPIC, "configured-1", ["retention.ms"]), version=version, **more)


def alter_configs(script: Script) -> None:
    make(script, "altered", "altered-2", configs={"retention.ms": "1000", "segment.ms": "2000000"})

    def ask(step: str, *resources: Any, version: int = 1, validate_only: bool = False) -> None:
        request = IncrementalAlterConfigsRequest(resources=list(resources), validate_only=validate_only)
        script.ask(f"alter configs/{step}", request, version)

    def change(*changes: tuple[str, int, str | None], kind: int = TOPIC, name: str = "altered") -> Any:
        configs = [Wanted.Config(name=n, config_operation=operation, value=value) for n, operation, value in changes]
        return Wanted(resource_type=kind, resource_name=name, configs=configs)

    ask("nothing")
    ask("no changes", change())
    for config, value in CONFIGS:
        ask(f"set {config}={value}", change((config, SET, value)), validate_only=True)
    ask("unknown topic", change(("retention.ms", SET, "5"), name="nothing"))
    ask("bad topic name", change(("retention.ms", SET, "5"), name="bad/name"))
    ask("no topic name", change(("retention.ms", SET, "5"), name=""))
    ask("unknown operation", change(("retention.ms", 9, "5")))
    ask("append to a number", change(("retention.ms", APPEND, "5")))
    ask("append", change(("cleanup.policy", APPEND, "compact")))
    ask("append again", change(("cleanup.policy", APPEND, "compact")))
    ask("append what cannot be", change(("cleanup.policy", APPEND, "shred")))
    ask("subtract", change(("cleanup.policy", SUBTRACT, "delete")))
    ask("subtract what is not there", change(("cleanup.policy", SUBTRACT, "delete")))
    ask("subtract the last", change(("cleanup.policy", SUBTRACT, "compact")))
    ask("delete", change(("segment.ms", DELETE, None)))
    ask("delete what is not set", change(("segment.ms", DELETE, None)))
    ask("delete unknown", change(("no.such.config", DELETE, None)))
    ask("delete with a value", change(("retention.ms", DELETE, "5")), validate_only=True)
    ask("a config twice", change(("retention.ms", SET, "5"), ("retention.ms", SET, "6")))
    ask("the same topic twice", change(("retention.ms", SET, "5")), change(("retention.ms", SET, "6")))
    ask(
        "good and bad",
        change(("retention.ms", SET, "5")),
        change(("retention.ms", SET, "x"), name="altered-2"),
    )
    ask("this broker", change(("log.cleaner.threads", SET, "1"), kind=BROKER, name="1"), validate_only=True)
    ask("read-only", change(("node.id", SET, "5"), kind=BROKER, name="1"))
    ask("a wrong value of this broker", change(("log.cleaner.threads", SET, "no"), kind=BROKER, name="1"))
    ask("another broker", change(("log.cleaner.threads", SET, "1"), kind=BROKER, name="2"))
    ask("a broker without a number", change(("log.cleaner.threads", SET, "1"), kind=BROKER, name="one"))
    ask("all brokers", change(("log.cleaner.threads", SET, "1"), kind=BROKER, name=""), validate_only=True)
    ask("one broker's for all", change(("advertised.listeners", SET, "X://a:1"), kind=BROKER, name=""))
    ask("unknown of all brokers", change(("no.such.config", SET, "1"), kind=BROKER, name=""), validate_only=True)
    ask("group", change(("consumer.session.timeout.ms", SET, "50000"), kind=GROUP, name="g"), validate_only=True)
    ask("group, out of range", change(("consumer.session.timeout.ms", SET, "1"), kind=GROUP, name="g"))
    ask("group, unknown", change(("no.such.config", SET, "1"), kind=GROUP, name="g"))
    ask("no group", change(("consumer.session.timeout.ms", SET, "50000"), kind=GROUP, name=""))
    ask("client metrics", change(("interval.ms", SET, "1000"), kind=METRICS, name="m"), validate_only=True)
    ask("client metrics, wrong", change(("interval.ms", SET, "1"), kind=METRICS, name="m"))
    ask("client metrics, unknown", change(("no.such.config", SET, "1"), kind=METRICS, name="m"))
    ask("no client metrics", change(("interval.ms", SET, "1000"), kind=METRICS, name=""))
    ask("unknown type", change(("retention.ms", SET, "5"), kind=99, name="what"))
    ask("no type", change(("retention.ms", SET, "5"), kind=0, name="what"))
    ask("version 0", change(("retention.ms", SET, "6")), version=0)
    keys = ["retention.ms", "segment.ms", "cleanup.policy"]
    describe_once(script, "alter configs/what came of it", "altered", keys, retention_ms="6")


def describe_once(script: Script, step: str, topic: str, keys: list[str], *, retention_ms: str) -> None:
    """Describe a topic's configs once the broker has heard of the last change, which is answered before that."""
    resource = DescribeConfigsRequest.Resource(resource_type=TOPIC, resource_name=topic, configuration_keys=keys)
    request = DescribeConfigsRequest(resources=[resource])

    def heard() -> bool:
        (result,) = script.quietly(request, 4).results
        return ("retention.ms", retention_ms) in [(config.name, config.value) for config in result.configs]

    script.until(heard)
    script.ask(step, request, 4)


def alter_configs_as_a_whole(script: Script) -> None:
    make(script, "replaced", configs={"retention.ms": "1000", "segment.ms": "2000000"})

    def ask(
        step: str, *changes: tuple[str, str | None], kind: int = TOPIC, name: str = "replaced", **more: Any
    ) -> None:
        configs = [AlterConfigsRequest.Resource.Config(name=n, value=value) for n, value in changes]
        resource = AlterConfigsRequest.Resource(resource_type=kind, resource_name=name, configs=configs)
        version = more.pop("version", 2)
        request = AlterConfigsRequest(resources=[resource], validate_only=more.pop("validate_only", False))
        script.ask(f"alter configs as a whole/{step}", request, version)

    ask("one is left", ("retention.ms", "5"))
    describe_once(
        script, "alter configs as a whole/described", "replaced", ["retention.ms", "segment.ms"], retention_ms="5"
    )
    ask("none is left")
    ask("unknown", ("no.such.config", "1"))
    ask("wrong value", ("retention.ms", "soon"))
    ask("no value", ("retention.ms", None))
    ask("twice", ("retention.ms", "1"), ("retention.ms", "2"))
    ask("unknown topic", ("retention.ms", "1"), name="nothing")
    ask("broker", ("log.cleaner.threads", "1"), kind=BROKER, name="1", validate_only=True)
    ask("another broker", ("log.cleaner.threads", "1"), kind=BROKER, name="7")
    ask("unknown type", ("retention.ms", "1"), kind=99)
    for version in range(3):
        ask(f"version {version}", ("retention.ms", "7"), version=version)


def list_resources(script: Script) -> None:
    def ask(step: str, kinds: list[int], version: int = 1) -> None:
        request = ListConfigResourcesRequest(resource_types=kinds) if version else ListConfigResourcesRequest()
        script.ask(f"list config resources/{step}", request, version)

    ask("brokers", [BROKER])
    ask("loggers", [LOGGER])
    ask("groups", [GROUP])
    ask("client metrics", [METRICS])
    ask("unknown type", [99])
    ask("no type", [0])
    ask("a type twice", [BROKER, BROKER])
    ask("good and bad", [BROKER, 99])
    ask("version 0", [], version=0)


SECTIONS = (describe_configs, alter_configs, alter_configs_as_a_whole, list_resources)
