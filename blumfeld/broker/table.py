"""What a broker serves: every API in key order, with the versions announced and accepted.

The row is the whole announcement: `ApiVersions` lists exactly these. The handler of a row is the function named as the
API, in the module of that name: PRODUCE → `blumfeld.broker.api.produce.produce`; it is imported when first asked for.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from blumfeld.broker.dispatch import Api
from blumfeld.protocol.keys import ApiKey

if TYPE_CHECKING:
    from blumfeld.broker.dispatch import Handler


def _api(key: ApiKey, first_version: int, last_version: int) -> Api:
    def load() -> Handler:
        name = key.name.lower()
        return cast("Handler", getattr(importlib.import_module(f"blumfeld.broker.api.{name}"), name))

    return Api(key, first_version, last_version, load)


_ROWS = (
    _api(ApiKey.PRODUCE, 0, 13),  # 0–2 are answered with UNSUPPORTED_VERSION (KAFKA-18659)
    _api(ApiKey.FETCH, 4, 18),
    _api(ApiKey.LIST_OFFSETS, 1, 11),
    _api(ApiKey.METADATA, 0, 13),
    _api(ApiKey.OFFSET_COMMIT, 2, 10),
    _api(ApiKey.OFFSET_FETCH, 1, 10),
    _api(ApiKey.FIND_COORDINATOR, 0, 6),
    _api(ApiKey.JOIN_GROUP, 0, 9),
    _api(ApiKey.HEARTBEAT, 0, 4),
    _api(ApiKey.LEAVE_GROUP, 0, 5),
    _api(ApiKey.SYNC_GROUP, 0, 5),
    _api(ApiKey.DESCRIBE_GROUPS, 0, 6),
    _api(ApiKey.LIST_GROUPS, 0, 5),
    _api(ApiKey.API_VERSIONS, 0, 5),
    _api(ApiKey.CREATE_TOPICS, 2, 7),
    _api(ApiKey.DELETE_TOPICS, 1, 6),
    _api(ApiKey.DELETE_RECORDS, 0, 2),
    _api(ApiKey.INIT_PRODUCER_ID, 0, 5),
    _api(ApiKey.OFFSET_FOR_LEADER_EPOCH, 2, 4),
    _api(ApiKey.DESCRIBE_CONFIGS, 1, 4),
    _api(ApiKey.ALTER_CONFIGS, 0, 2),
    _api(ApiKey.DESCRIBE_LOG_DIRS, 1, 5),
    _api(ApiKey.CREATE_PARTITIONS, 0, 3),
    _api(ApiKey.DELETE_GROUPS, 0, 3),
    _api(ApiKey.ELECT_LEADERS, 0, 2),
    _api(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1),
    _api(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, 1),
    _api(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0),
    _api(ApiKey.OFFSET_DELETE, 0, 0),
    _api(ApiKey.DESCRIBE_QUORUM, 0, 2),
    _api(ApiKey.UPDATE_FEATURES, 0, 2),
    _api(ApiKey.DESCRIBE_CLUSTER, 0, 2),
    _api(ApiKey.DESCRIBE_PRODUCERS, 0, 0),
    _api(ApiKey.UNREGISTER_BROKER, 0, 0),
    _api(ApiKey.LIST_CONFIG_RESOURCES, 0, 1),
    _api(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, 0),
)

SERVED = MappingProxyType({int(api.key): api for api in _ROWS})
