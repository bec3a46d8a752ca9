"""What a controller listener serves, in key order, and who answers: a decider, the raft replica, or a plain reading.

The row is the whole announcement. A decider is the function named in its row; its module is imported when first asked
for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.protocol.keys import ApiKey

Decider = Callable[[Turn, Any], Decision[Any]]


class Answers(Enum):
    """Who answers a request on a controller listener."""

    DECIDER = "the active controller, from its speculative image; the answer waits for the records"
    RAFT = "this node's raft replica"
    READING = "this node, from committed metadata"
    LISTENER = "the listener itself: negotiation, and requests inside requests"


class ControllerApi(NamedTuple):
    """One row: versions served, who answers, and for deciders which function of `cluster/controller/`."""

    key: ApiKey
    first_version: int
    last_version: int
    answers: Answers
    decider: str = ""
    forwardable: bool = False
    """Whether brokers pass it on for clients (KIP-590)."""


def _decided(key: ApiKey, first: int, last: int, decider: str, *, forwardable: bool = False) -> ControllerApi:
    return ControllerApi(key, first, last, Answers.DECIDER, decider, forwardable)


_ROWS = (
    ControllerApi(ApiKey.FETCH, 4, 18, Answers.RAFT),
    ControllerApi(ApiKey.API_VERSIONS, 0, 5, Answers.LISTENER),
    _decided(ApiKey.CREATE_TOPICS, 2, 7, "create_topics:create_topics", forwardable=True),
    _decided(ApiKey.DELETE_TOPICS, 1, 6, "delete_topics:delete_topics", forwardable=True),
    ControllerApi(ApiKey.DESCRIBE_CONFIGS, 1, 4, Answers.READING),
    _decided(ApiKey.ALTER_CONFIGS, 0, 2, "alter_configs:alter_configs", forwardable=True),
    _decided(ApiKey.CREATE_PARTITIONS, 0, 3, "create_partitions:create_partitions", forwardable=True),
    _decided(ApiKey.ELECT_LEADERS, 0, 2, "elections:elect_leaders", forwardable=True),
    _decided(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1, "alter_configs:incremental_alter_configs", forwardable=True),
    _decided(
        ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, 1, "reassignments:alter_partition_reassignments", forwardable=True
    ),
    _decided(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0, "reassignments:list_partition_reassignments", forwardable=True),
    ControllerApi(ApiKey.VOTE, 0, 2, Answers.RAFT),
    ControllerApi(ApiKey.BEGIN_QUORUM_EPOCH, 0, 1, Answers.RAFT),
    ControllerApi(ApiKey.END_QUORUM_EPOCH, 0, 1, Answers.RAFT),
    ControllerApi(ApiKey.DESCRIBE_QUORUM, 0, 2, Answers.RAFT, forwardable=True),
    _decided(ApiKey.ALTER_PARTITION, 2, 3, "alter_partition:alter_partition"),
    _decided(ApiKey.UPDATE_FEATURES, 0, 2, "update_features:update_features", forwardable=True),
    ControllerApi(ApiKey.ENVELOPE, 0, 0, Answers.LISTENER),
    ControllerApi(ApiKey.FETCH_SNAPSHOT, 0, 1, Answers.RAFT),
    ControllerApi(ApiKey.DESCRIBE_CLUSTER, 0, 2, Answers.READING),
    _decided(ApiKey.BROKER_REGISTRATION, 0, 4, "brokers:register_broker"),
    _decided(ApiKey.BROKER_HEARTBEAT, 0, 2, "brokers:heartbeat"),
    _decided(ApiKey.UNREGISTER_BROKER, 0, 0, "brokers:unregister_broker", forwardable=True),
    _decided(ApiKey.ALLOCATE_PRODUCER_IDS, 0, 0, "producer_ids:allocate_producer_ids"),
    _decided(ApiKey.CONTROLLER_REGISTRATION, 0, 0, "controllers:register_controller"),
    _decided(ApiKey.ASSIGN_REPLICAS_TO_DIRS, 0, 0, "assign_directories:assign_replicas_to_dirs"),
    ControllerApi(ApiKey.ADD_RAFT_VOTER, 0, 1, Answers.RAFT, forwardable=True),
    ControllerApi(ApiKey.REMOVE_RAFT_VOTER, 0, 0, Answers.RAFT, forwardable=True),
    ControllerApi(ApiKey.UPDATE_RAFT_VOTER, 0, 0, Answers.RAFT),
)

SERVED: Mapping[ApiKey, ControllerApi] = MappingProxyType({row.key: row for row in _ROWS})


@cache
def decider(key: ApiKey) -> Decider | None:
    """The decider of an API; None if it has none."""
    row = SERVED.get(key)
    if row is None or row.answers is not Answers.DECIDER:
        return None
    module, _, name = row.decider.partition(":")
    return cast("Decider", getattr(importlib.import_module(f"blumfeld.cluster.controller.{module}"), name))
