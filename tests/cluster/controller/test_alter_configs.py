"""AlterConfigs and IncrementalAlterConfigs: what a change amounts to, and why one is refused."""

from __future__ import annotations

import pytest

from blumfeld.cluster.image.configs import ConfigResource
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_configs import AlterConfigsRequest
from blumfeld.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from tests.cluster.controller.story import Controller

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)


def change(
    controller: Controller, kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False
) -> tuple[ErrorCode, str | None]:
    response = controller.send(
        IncrementalAlterConfigsRequest(
            resources=[
                IncrementalAlterConfigsRequest.Resource(
                    resource_type=kind,
                    resource_name=name,
                    configs=[
                        IncrementalAlterConfigsRequest.Resource.Config(
                            name=key, config_operation=operation, value=value
                        )
                        for key, operation, value in changes
                    ],
                )
            ],
            validate_only=validate_only,
        )
    )
    [answer] = response.responses
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return ErrorCode(answer.error_code), answer.error_message


def set_topic_config(controller: Controller, topic: str, key: str, value: str) -> None:
    assert change(controller, TOPIC, topic, (key, SET, value))[0] is ErrorCode.NONE


@pytest.fixture
def controller() -> Controller:
    return Controller().with_brokers(1).with_topic("orders", 1, 1, configs={"retention.ms": "1000"})


def topic_configs(controller: Controller) -> dict[str, str]:
    return dict(controller.image.configs.of_topic("orders"))


def test_configs_are_set_and_deleted(controller: Controller) -> None:
    result = change(controller, TOPIC, "orders", ("retention.ms", DELETE, None), ("segment.bytes", SET, "2000000"))
    assert result == (ErrorCode.NONE, None)
    assert topic_configs(controller) == {"segment.bytes": "2000000"}


def test_lists_grow_and_shrink_from_the_default_on(controller: Controller) -> None:
    change(controller, TOPIC, "orders", ("cleanup.policy", APPEND, "compact"))
    assert topic_configs(controller)["cleanup.policy"] == "delete,compact"
    change(controller, TOPIC, "orders", ("cleanup.policy", APPEND, "compact"))
    change(controller, TOPIC, "orders", ("cleanup.policy", SUBTRACT, "delete"))
    assert topic_configs(controller)["cleanup.policy"] == "compact"


def test_a_value_that_stays_is_not_written_for_a_topic_but_is_for_a_broker(controller: Controller) -> None:
    change(controller, TOPIC, "orders", ("retention.ms", SET, "1000"))
    assert controller.written == []
    for _ in range(2):
        change(controller, BROKER, "1", ("log.cleaner.threads", SET, "2"))
        assert len(controller.written) == 1


def test_validate_only_changes_nothing(controller: Controller) -> None:
    assert change(controller, TOPIC, "orders", ("retention.ms", SET, "5"), validate_only=True)[0] is ErrorCode.NONE
    assert topic_configs(controller) == {"retention.ms": "1000"}


def test_cluster_defaults_and_single_brokers_are_kept_apart(controller: Controller) -> None:
    change(controller, BROKER, "", ("log.cleaner.threads", SET, "2"))
    change(controller, BROKER, "1", ("log.cleaner.threads", SET, "3"))
    assert controller.image.configs.cluster_defaults == {"log.cleaner.threads": "2"}
    assert controller.image.configs.of_broker(1) == {"log.cleaner.threads": "3"}
    assert controller.image.configs.of(ConfigResource.broker(None)) == {"log.cleaner.threads": "2"}


def test_dynamic_cluster_defaults_count_for_what_a_new_topic_gets(controller: Controller) -> None:
    change(controller, BROKER, "", ("log.retention.ms", SET, "77"))
    result = controller.create("new", 1, 1)
    described = {config.name: (config.value, config.config_source) for config in result.configs or []}
    assert described["retention.ms"] == ("77", 3)


def test_groups_and_metrics_subscriptions_have_configs(controller: Controller) -> None:
    assert change(controller, GROUP, "g", ("consumer.session.timeout.ms", SET, "50000"))[0] is ErrorCode.NONE
    assert change(controller, CLIENT_METRICS, "m", ("interval.ms", SET, "1000"))[0] is ErrorCode.NONE


REFUSED = {
    "no topic": (TOPIC, "nowhere", ("retention.ms", SET, "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    "topic name": (TOPIC, "a b", ("retention.ms", SET, "1"), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "unknown config": (TOPIC, "orders", ("retention", SET, "1"), ErrorCode.INVALID_CONFIG),
    "bad value": (TOPIC, "orders", ("retention.ms", SET, "soon"), ErrorCode.INVALID_CONFIG),
    "no list": (TOPIC, "orders", ("retention.ms", APPEND, "1"), ErrorCode.INVALID_CONFIG),
    "empty in a list": (TOPIC, "orders", ("cleanup.policy", SET, "delete,"), ErrorCode.INVALID_CONFIG),
    "throttled": (TOPIC, "orders", ("leader.replication.throttled.replicas", SET, "x"), ErrorCode.INVALID_CONFIG),
    "too long": (BROKER, "1", ("ssl.keystore.key", SET, "x" * 32768), ErrorCode.INVALID_CONFIG),
    "operation": (TOPIC, "orders", ("retention.ms", 9, "1"), ErrorCode.INVALID_REQUEST),
    "no broker": (BROKER, "5", ("log.cleaner.threads", SET, "1"), ErrorCode.BROKER_ID_NOT_REGISTERED),
    "broker name": (BROKER, "one", ("log.cleaner.threads", SET, "1"), ErrorCode.INVALID_REQUEST),
    "negative broker": (BROKER, "-1", ("log.cleaner.threads", SET, "1"), ErrorCode.INVALID_REQUEST),
    "loggers": (BROKER_LOGGER, "1", ("root", SET, "INFO"), ErrorCode.INVALID_REQUEST),
    "type": (77, "x", ("a", SET, "1"), ErrorCode.UNSUPPORTED_VERSION),
    "all groups": (GROUP, "", ("consumer.session.timeout.ms", SET, "1"), ErrorCode.INVALID_REQUEST),
    "group config": (GROUP, "g", ("session.timeout", SET, "1"), ErrorCode.INVALID_CONFIG),
    "group number": (GROUP, "g", ("consumer.session.timeout.ms", SET, "long"), ErrorCode.INVALID_CONFIG),
    "group, too short": (GROUP, "g", ("consumer.session.timeout.ms", SET, "44999"), ErrorCode.INVALID_CONFIG),
    "group, too long": (GROUP, "g", ("consumer.session.timeout.ms", SET, "60001"), ErrorCode.INVALID_CONFIG),
    "group, too often": (GROUP, "g", ("consumer.heartbeat.interval.ms", SET, "4999"), ErrorCode.INVALID_CONFIG),
    "group, too seldom": (GROUP, "g", ("consumer.heartbeat.interval.ms", SET, "15001"), ErrorCode.INVALID_CONFIG),
    "metrics config": (CLIENT_METRICS, "m", ("every", SET, "1"), ErrorCode.INVALID_REQUEST),
    "no subscription": (CLIENT_METRICS, "", ("interval.ms", SET, "1000"), ErrorCode.INVALID_REQUEST),
    "metrics number": (CLIENT_METRICS, "m", ("interval.ms", SET, "often"), ErrorCode.INVALID_CONFIG),
    "metrics, too often": (CLIENT_METRICS, "m", ("interval.ms", SET, "99"), ErrorCode.INVALID_REQUEST),
    "metrics, too seldom": (CLIENT_METRICS, "m", ("interval.ms", SET, "3600001"), ErrorCode.INVALID_REQUEST),
    "match without a pattern": (CLIENT_METRICS, "m", ("match", SET, "client_id"), ErrorCode.INVALID_CONFIG),
    "match of nothing": (CLIENT_METRICS, "m", ("match", SET, "client=a"), ErrorCode.INVALID_CONFIG),
    "match of no pattern": (CLIENT_METRICS, "m", ("match", SET, "client_id=("), ErrorCode.INVALID_CONFIG),
    "all topics": (TOPIC, "", ("retention.ms", SET, "1"), ErrorCode.INVALID_REQUEST),
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (GROUP, "consumer.session.timeout.ms", "45000"),
        (GROUP, "consumer.session.timeout.ms", "60000"),
        (GROUP, "consumer.heartbeat.interval.ms", "5000"),
        (GROUP, "consumer.heartbeat.interval.ms", "15000"),
        (CLIENT_METRICS, "interval.ms", "100"),
        (CLIENT_METRICS, "interval.ms", "3600000"),
        (CLIENT_METRICS, "match", "client_id=a.*, client_software_name=b"),
    ],
)
def test_changes_that_are_just_allowed(controller: Controller, kind: int, name: str, value: str) -> None:
    assert change(controller, kind, "x", (name, SET, value))[0] is ErrorCode.NONE


@pytest.mark.parametrize("case", REFUSED)
def test_changes_refused(controller: Controller, case: str) -> None:
    kind, name, one, code = REFUSED[case]
    error, message = change(controller, kind, name, one)
    assert error is code
    assert message
    assert controller.written == []


def test_each_resource_must_appear_once(controller: Controller) -> None:
    resource = IncrementalAlterConfigsRequest.Resource(resource_type=TOPIC, resource_name="orders", configs=[])
    response = controller.send(IncrementalAlterConfigsRequest(resources=[resource, resource], validate_only=False))
    assert {(r.error_code, r.error_message) for r in response.responses} == {
        (ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
    }


def test_the_old_api_replaces_everything(controller: Controller) -> None:
    response = controller.send(
        AlterConfigsRequest(
            resources=[
                AlterConfigsRequest.Resource(
                    resource_type=TOPIC,
                    resource_name="orders",
                    configs=[AlterConfigsRequest.Resource.Config(name="segment.bytes", value="2000000")],
                )
            ],
            validate_only=False,
        )
    )
    assert response.responses[0].error_code == ErrorCode.NONE
    assert topic_configs(controller) == {"segment.bytes": "2000000"}
