"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs on a broker."""

from __future__ import annotations

import time
from typing import Any

import pytest

from blumfeld.broker.api.alter_configs import alter_configs
from blumfeld.broker.api.describe_configs import describe_configs
from blumfeld.broker.api.incremental_alter_configs import incremental_alter_configs
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest
from blumfeld.protocol.messages.describe_configs import DescribeConfigsRequest
from blumfeld.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from tests.broker.api.admin_story import Admin

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC_SOURCE, BROKER_SOURCE, DEFAULT_BROKER_SOURCE, STATIC, DEFAULT = range(1, 6)


@pytest.fixture
def admin() -> Admin:
    properties = {"log.retention.ms": "123", "background.threads": "4"}
    admin = Admin(properties=properties).with_brokers(1, 2)
    return admin.with_topic("orders", 1, 1, configs={"cleanup.policy": "compact"})


async def describe(admin: Admin, kind: int, name: str, *keys: str, **changes: Any) -> Any:
    resource = DescribeConfigsRequest.Resource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) or None
    )
    response = await admin.ask(describe_configs, DescribeConfigsRequest(resources=[resource], **changes))
    [result] = response.results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


async def values(admin: Admin, kind: int, name: str, *keys: str) -> dict[str, tuple[str | None, int]]:
    result = await describe(admin, kind, name, *keys)
    assert result.error_code == ErrorCode.NONE, result
    return {config.name: (config.value, config.config_source) for config in result.configs}


async def change(admin: Admin, kind: int, name: str, *changes: tuple[str, int, str | None]) -> tuple[ErrorCode, Any]:
    resource = IncrementalAlterConfigsRequest.Resource(
        resource_type=kind,
        resource_name=name,
        configs=[
            IncrementalAlterConfigsRequest.Resource.Config(name=key, config_operation=operation, value=value)
            for key, operation, value in changes
        ],
    )
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
    [answer] = (await admin.ask(incremental_alter_configs, request)).responses
    return ErrorCode(answer.error_code), answer.error_message


async def test_a_topics_configs_come_from_where_they_are_set(admin: Admin) -> None:
    found = await values(admin, TOPIC, "orders")
    assert found["cleanup.policy"] == ("compact", TOPIC_SOURCE)
    assert found["retention.ms"] == ("123", STATIC)
    assert found["segment.bytes"] == ("1073741824", DEFAULT)
    await change(admin, BROKER, "", ("log.retention.ms", SET, "77"))
    assert (await values(admin, TOPIC, "orders", "retention.ms")) == {"retention.ms": ("77", DEFAULT_BROKER_SOURCE)}
    await change(admin, BROKER, "1", ("log.retention.ms", SET, "88"))
    assert (await values(admin, TOPIC, "orders", "retention.ms")) == {"retention.ms": ("88", BROKER_SOURCE)}


async def test_synonyms_types_and_documentation_are_told_when_asked_for(admin: Admin) -> None:
    [config] = (await describe(admin, TOPIC, "orders", "cleanup.policy")).configs
    assert (config.synonyms, config.documentation, config.config_type) == ([], None, 7)
    result = await describe(admin, TOPIC, "orders", "cleanup.policy", include_synonyms=True, include_documentation=True)
    [config] = result.configs
    assert [(s.name, s.value, s.source) for s in config.synonyms] == [
        ("cleanup.policy", "compact", TOPIC_SOURCE),
        ("log.cleanup.policy", "delete", DEFAULT),
    ]
    assert config.documentation


async def test_a_broker_describes_itself(admin: Admin) -> None:
    found = {config.name: config for config in (await describe(admin, BROKER, "1")).configs}
    assert (found["background.threads"].value, found["background.threads"].config_source) == ("4", STATIC)
    assert not found["background.threads"].read_only
    assert found["broker.heartbeat.interval.ms"].read_only
    await change(admin, BROKER, "1", ("background.threads", SET, "5"))
    assert await values(admin, BROKER, "1", "background.threads") == {"background.threads": ("5", BROKER_SOURCE)}


async def test_what_is_set_for_all_brokers_is_described_by_itself(admin: Admin) -> None:
    assert await values(admin, BROKER, "") == {}
    await change(admin, BROKER, "", ("background.threads", SET, "6"))
    await change(admin, BROKER, "1", ("background.threads", SET, "7"))
    assert await values(admin, BROKER, "") == {"background.threads": ("6", DEFAULT_BROKER_SOURCE)}


async def test_groups_and_metrics_subscriptions_are_described(admin: Admin) -> None:
    assert (await values(admin, GROUP, "g"))["consumer.session.timeout.ms"] == ("45000", DEFAULT)
    await change(admin, GROUP, "g", ("consumer.session.timeout.ms", SET, "50000"))
    assert (await values(admin, GROUP, "g"))["consumer.session.timeout.ms"] == ("50000", 8)
    await change(admin, CLIENT_METRICS, "m", ("interval.ms", SET, "1000"))
    assert (await values(admin, CLIENT_METRICS, "m"))["interval.ms"] == ("1000", 7)


@pytest.mark.parametrize(
    ("kind", "name", "code", "message"),
    [
        (TOPIC, "nowhere", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (
            TOPIC,
            "a b",
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            (
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_'"
                " and '-'"
            ),
        ),
        (
            BROKER,
            "2",
            ErrorCode.INVALID_REQUEST,
            "Unexpected broker id, expected 1 or empty string, but received 2",
        ),
        (BROKER, "x", ErrorCode.INVALID_REQUEST, "Broker id must be an integer, but it is: x"),
        (BROKER_LOGGER, "", ErrorCode.INVALID_REQUEST, "Broker id must not be empty"),
        (BROKER_LOGGER, "2", ErrorCode.INVALID_REQUEST, "Unexpected broker id, expected 1 but received 2"),
        (BROKER_LOGGER, "1", ErrorCode.INVALID_REQUEST, "This broker's loggers cannot be described."),
        (GROUP, "", ErrorCode.INVALID_REQUEST, "Group name must not be empty"),
        (CLIENT_METRICS, "", ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty"),
        (77, "x", ErrorCode.INVALID_REQUEST, "Unexpected resource type UNKNOWN"),
    ],
)
async def test_what_cannot_be_described(admin: Admin, kind: int, name: str, code: ErrorCode, message: Any) -> None:
    result = await describe(admin, kind, name)
    assert (ErrorCode(result.error_code), result.error_message, result.configs) == (code, message, [])


async def test_topics_are_the_controllers_business(admin: Admin) -> None:
    assert await change(admin, TOPIC, "orders", ("retention.ms", SET, "5")) == (ErrorCode.NONE, None)
    assert (await values(admin, TOPIC, "orders"))["retention.ms"] == ("5", TOPIC_SOURCE)
    assert await change(admin, TOPIC, "orders", ("retention.ms", SET, "x")) == (
        ErrorCode.INVALID_CONFIG,
        "Invalid value x for configuration retention.ms: Not a number of type LONG",
    )


REFUSED: dict[str, tuple[int, str, list[tuple[str, int, str | None]], str]] = {
    "another broker": (
        BROKER,
        "2",
        [("background.threads", SET, "5")],
        "Unexpected broker id, expected 1, but received 2",
    ),
    "no broker": (BROKER, "x", [("background.threads", SET, "5")], "Node id must be an integer, but it is: x"),
    "fixed": (
        BROKER,
        "1",
        [("broker.session.timeout.ms", SET, "5")],
        "Cannot update these configs dynamically: [broker.session.timeout.ms]",
    ),
    "value": (
        BROKER,
        "1",
        [("background.threads", SET, "no")],
        "Invalid value no for configuration background.threads: Not a number of type INT",
    ),
    "range": (
        BROKER,
        "",
        [("background.threads", SET, "0")],
        "Invalid value 0 for configuration background.threads: Value must be at least 1",
    ),
    "null": (BROKER, "1", [("background.threads", SET, None)], "Null value not supported for : background.threads"),
    "loggers": (BROKER_LOGGER, "1", [("root", SET, "INFO")], "This broker's loggers cannot be changed."),
    "type": (77, "1", [("a", SET, "b")], "Unknown resource type 77"),
    "no list": (
        BROKER,
        "1",
        [("background.threads", APPEND, "5")],
        "Config value append is not allowed for config key: background.threads",
    ),
    "unknown list": (BROKER, "1", [("nonsense", SUBTRACT, "5")], "Unknown config name: nonsense"),
    "key twice": (TOPIC, "orders", [("a", SET, "b"), ("a", SET, "c")], "Error due to duplicate config keys"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_changes_that_this_broker_refuses_itself(admin: Admin, case: str) -> None:
    kind, name, changes, message = REFUSED[case]
    code = ErrorCode.INVALID_CONFIG if "list" in case else ErrorCode.INVALID_REQUEST
    assert await change(admin, kind, name, *changes) == (code, message)
    assert admin.channel.asked == []


async def test_answers_come_in_the_order_asked_whoever_gives_them(admin: Admin) -> None:
    def resource(kind: int, name: str) -> IncrementalAlterConfigsRequest.Resource:
        config = IncrementalAlterConfigsRequest.Resource.Config(name="retention.ms", config_operation=SET, value="1")
        return IncrementalAlterConfigsRequest.Resource(resource_type=kind, resource_name=name, configs=[config])

    wanted = [resource(BROKER, "2"), resource(TOPIC, "orders"), resource(TOPIC, "nowhere"), resource(BROKER, "2")]
    request = IncrementalAlterConfigsRequest(resources=wanted, validate_only=False)
    response = await admin.ask(incremental_alter_configs, request)
    assert [(r.resource_name, ErrorCode(r.error_code).name) for r in response.responses] == [
        ("2", "INVALID_REQUEST"),
        ("orders", "NONE"),
        ("nowhere", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("2", "INVALID_REQUEST"),
    ]


async def test_very_many_resources_are_looked_at_once_each(admin: Admin) -> None:
    resources = [
        IncrementalAlterConfigsRequest.Resource(resource_type=BROKER_LOGGER, resource_name=str(number), configs=[])
        for number in range(50_000)
    ]
    begun = time.monotonic()
    response = await admin.ask(
        incremental_alter_configs, IncrementalAlterConfigsRequest(resources=resources, validate_only=False)
    )
    assert time.monotonic() - begun < 20  # squared, it was a minute and more
    assert len(response.responses) == 50_000


async def test_the_old_api_replaces_everything(admin: Admin) -> None:
    def request(kind: int, name: str, key: str, value: str) -> AlterConfigsRequest:
        config = AlterConfigsRequest.Resource.Config(name=key, value=value)
        return AlterConfigsRequest(
            resources=[AlterConfigsRequest.Resource(resource_type=kind, resource_name=name, configs=[config])],
            validate_only=False,
        )

    response = await admin.ask(alter_configs, request(TOPIC, "orders", "segment.bytes", "2000000"))
    assert response.responses[0].error_code == ErrorCode.NONE
    assert admin.broker.image.configs.of_topic("orders") == {"segment.bytes": "2000000"}
    response = await admin.ask(alter_configs, request(BROKER, "1", "node.id", "2"))
    assert response.responses[0].error_message == "Cannot update these configs dynamically: [node.id]"
