"""A plain request of every API in every version: the same fields with the same values."""

from __future__ import annotations

from typing import Any

from blumfeld.protocol.keys import request_class
from tests.broker.test_every_version import CASES, REQUESTS
from tests.interop.differential.records import asked, batch
from tests.interop.differential.script import Script
from tests.interop.differential.topics import make

ELSEWHERE = ("API_VERSIONS", "DESCRIBE_CONFIGS", "CREATE_TOPICS", "DESCRIBE_QUORUM", "DESCRIBE_LOG_DIRS", "LIST_GROUPS")
"""Compared in detail by other sections; here they would only list what is known to differ."""


class Stage:
    """What the requests of `test_every_version` are made for."""

    def __init__(self, topic: str, topic_id: bytes) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.epoch = 0


def every_version(script: Script) -> None:
    from blumfeld.protocol.messages.produce import ProduceRequest

    (topic_id,) = make(script, "shapes", partitions=2)
    script.quietly(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[asked("shapes", batch())]), 9)
    stage: Any = Stage("shapes", topic_id)
    for key, version in CASES:
        if key.name not in ELSEWHERE:
            request = REQUESTS[key](stage, request_class(key), version)
            script.ask(f"shapes/{key.name} {version}", request, version)


SECTIONS = (every_version,)
