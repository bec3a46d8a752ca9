"""Configs of groups and of client metrics subscriptions: which there are, and what they may be.

Owns their rules, with Apache Kafka's answers. Those of topics and brokers are rows of the options table; what any of
them does is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.controller.config_texts import why_not
from blumfeld.cluster.controller.decision import NO_ERROR, ApiError
from blumfeld.config.values import Option, Type, split_list
from blumfeld.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

HEARTBEAT: Final = "consumer.heartbeat.interval.ms"
SESSION: Final = "consumer.session.timeout.ms"
GROUP_CONFIGS: Final = {
    name: Option(name, Type.INT, None, "of a group; group.… of the broker gives default, minimum and maximum")
    for name in (HEARTBEAT, SESSION)
}

INTERVAL: Final = "interval.ms"
MATCH: Final = "match"
CLIENT_METRICS_CONFIGS: Final = {
    INTERVAL: Option(INTERVAL, Type.INT, None, "how often metrics are pushed"),
    MATCH: Option(MATCH, Type.LIST, None, "whose metrics are wanted"),
    "metrics": Option("metrics", Type.LIST, None, "which metrics are wanted"),
}
SHORTEST_INTERVAL_MS: Final = 100
LONGEST_INTERVAL_MS: Final = 3_600_000
MATCHED: Final = frozenset(
    {
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)


def validate_group(config: Config, name: str, configs: Mapping[str, str]) -> ApiError:
    """Whether a group may have exactly these configs, on a broker configured so."""
    if not name:
        return ApiError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
    for key in configs:
        if key not in GROUP_CONFIGS:
            return _invalid(f"Unknown group config name: {key}")
    values = {}
    for key, option in GROUP_CONFIGS.items():
        text = configs.get(key)
        reason = None if text is None else why_not(option, text)
        if reason is not None:
            return _invalid(reason)
        values[key] = config.int(f"group.{key}") if text is None else int(text)
    for key in configs:
        kind = key.removeprefix("consumer.")
        least, most = f"group.consumer.min.{kind}", f"group.consumer.max.{kind}"
        if values[key] < config.int(least):
            return _invalid(f"{key} must be greater than or equal to {least}")
        if values[key] > config.int(most):
            return _invalid(f"{key} must be less than or equal to {most}")
    if values[SESSION] <= values[HEARTBEAT]:
        return _invalid(f"{SESSION} must be greater than {HEARTBEAT}")
    return NO_ERROR


def validate_client_metrics(name: str, configs: Mapping[str, str]) -> ApiError:
    """Whether a subscription may have exactly these configs."""
    if not name:
        return _bad("Subscription name can't be empty")
    for key, text in configs.items():
        option = CLIENT_METRICS_CONFIGS.get(key)
        if option is None:
            return _bad(f"Unknown client metrics configuration: {key}")
        reason = why_not(option, text)
        if reason is not None:
            return _invalid(reason)
    interval = configs.get(INTERVAL)
    if interval is not None and not SHORTEST_INTERVAL_MS <= int(interval) <= LONGEST_INTERVAL_MS:
        return _bad(
            f"Invalid value {interval} for {INTERVAL}, interval must be between {SHORTEST_INTERVAL_MS} and"
            f" {LONGEST_INTERVAL_MS} (1 hour)"
        )
    for pattern in split_list(configs.get(MATCH, "")):
        if not _is_match(pattern):
            return _invalid(f"Illegal client matching pattern: {pattern}")
    return NO_ERROR


def _is_match(pattern: str) -> bool:
    """`property=expression`."""
    parts = pattern.split("=")
    if len(parts) != 2 or parts[0].strip() not in MATCHED:
        return False
    try:
        re.compile(parts[1].strip())
    except re.error:
        return False
    return True


def _invalid(message: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_CONFIG, message)


def _bad(message: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_REQUEST, message)
