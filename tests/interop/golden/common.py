"""The steps that every client does, through the face that the stories use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.interop.clients.face import Client, Sent

Step = tuple[str, Callable[[], object]]

TOPIC, GROUP = "golden", "golden-group"
RECORDS = (Sent(b"value", key=b"key", headers=(("header", b"x"),), partition=0), Sent(None, key=b"k", partition=1))
WAIT_S = 15
HEARTBEATS_S = 4


def common_steps(client: Client) -> Iterator[Step]:
    yield "create topic", lambda: client.create_topic(TOPIC, 2, {"retention.ms": "86400000"})
    for acks in ("0", "1", "all"):
        yield f"produce, acks {acks}", partial(client.produce, TOPIC, RECORDS, acks=acks)
    yield "produce compressed", lambda: client.produce(TOPIC, [Sent(b"x" * 200, partition=0)], codec="gzip")
    yield "produce idempotently", lambda: client.produce(TOPIC, [Sent(b"once", partition=0)], idempotent=True)
    yield "consume", lambda: client.consume(TOPIC, [0, 1], 4)
    yield "consume the end", lambda: client.produce_after_seek_to_end(TOPIC, b"next")
    yield "offset at a time", lambda: client.offset_at(TOPIC, 0, 1_000_000_000_000)
    yield "join, commit, leave", lambda: be_a_member(client)
    yield "committed", lambda: client.committed(GROUP, TOPIC)
    yield "list topics", client.list_topics
    yield "describe topic", lambda: client.partition_count(TOPIC)
    yield "topic configuration", lambda: client.topic_config(TOPIC)
    yield "brokers", client.broker_ids
    yield "groups", client.groups


def last_steps(client: Client) -> Iterator[Step]:
    yield "delete topic", lambda: client.delete_topic(TOPIC)


def be_a_member(client: Client) -> None:
    member = client.join(GROUP, TOPIC)
    try:
        wait_until(lambda: len(member.received()) >= 2, "the member receives")
        member.commit(wait=True)
        member.commit(wait=False)
        time.sleep(HEARTBEATS_S)
        assert client.group_members(GROUP) == 1
    finally:
        member.close()


def wait_until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)
