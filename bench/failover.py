"""What a producer notices when one of three nodes goes: the longest time between two acknowledgements.

One record every 5 ms to one partition, idempotent, acks=all, `min.insync.replicas` 2, librdkafka with its defaults. The
partition is placed so that the victim is what the scenario says: its leader, or a follower, with or without the active
controller. After each round the victim is started again and is in sync before the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from confluent_kafka.admin import AdminClient, NewTopic

from bench import load
from bench.figures import Figures, Goal, at_most
from bench.first_ack import wait_for_metadata
from bench.peers.peer import Peer
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import ClientError
from blumfeld.cluster.link import LinkError
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.metadata import MetadataResponse
from tests.cluster_e2e.steady import SteadyProducer

T = TypeVar("T")

NODES = (1, 2, 3)
LEAD_IN_S = 1.0
"""The producer is under way for so long before the victim goes."""
RECOVERED_ACKS = 100
"""Acknowledgements after the victim went, until a round is over."""
SETTLE_S = 1.0
GIVE_UP_S = 60.0


class Scenario(NamedTuple):
    """Who goes, and how."""

    name: str
    leads: bool
    """Whether the victim leads the partition."""
    controls: bool
    """Whether it is the active controller."""
    kill: bool
    """kill -9, or a controlled shutdown."""
    median: float
    worst: float
    """Goals, in seconds."""


SCENARIOS = (
    Scenario("kill -9 of a leader", True, False, True, 1.0, 2.0),
    Scenario("kill -9 of a leader that is the active controller", True, True, True, 2.0, 4.0),
    Scenario("kill -9 of a follower", False, False, True, 1.0, 1.0),
    Scenario("kill -9 of a follower that is the active controller", False, True, True, 1.0, 1.0),
    Scenario("controlled shutdown of a leader", True, False, False, 0.25, 0.25),
    Scenario("controlled shutdown of a leader that is the active controller", True, True, False, 0.25, 0.25),
)


def measure(figures: Figures, name: str, peer: Peer, rounds: int, scenarios: tuple[Scenario, ...] = SCENARIOS) -> None:
    """All scenarios, `rounds` times each, on a cluster that is up."""
    number = 0
    for scenario in scenarios:
        gaps = []
        for _ in range(rounds):
            number += 1
            gaps.append(one_round(peer, scenario, f"failover-{number}"))
        median, worst = at_most(scenario.median), at_most(scenario.worst)
        _add(figures, f"{scenario.name}: longest pause, s", name, gaps, median)
        _add(figures, f"{scenario.name}: the worst one, s", name, [max(gaps)], worst)


def _add(figures: Figures, figure: str, name: str, values: list[float], goal: Goal) -> None:
    for value in values:
        figures.add(figure, name, value, goal)


def one_round(peer: Peer, scenario: Scenario, topic: str) -> float:
    """One victim; the longest pause in seconds. The cluster is whole again on return."""
    servers = peer.bootstrap_servers
    controller = asyncio.run(_ask(servers, _active_controller))
    others = [node for node in NODES if node != controller]
    victim = controller if scenario.controls else others[0]
    leader = victim if scenario.leads else others[1]
    replicas = [leader, *(node for node in NODES if node != leader)]
    _create(servers, topic, replicas)
    with SteadyProducer(servers, topic) as producer:
        producer.wait_for_acks(1, GIVE_UP_S)
        time.sleep(LEAD_IN_S)
        gone = time.monotonic()
        if scenario.kill:
            peer.kill(victim)
        else:
            peer.stop(victim)
        producer.wait_for_acks(RECOVERED_ACKS, GIVE_UP_S)
        producer.finish()
        gap = producer.longest_gap(gone)
    assert not producer.failed, producer.failed[:3]
    peer.start(victim)
    peer.wait_ready()
    asyncio.run(_ask(servers, lambda client: _in_sync(client, topic)))
    load.delete_topic(servers, topic)
    time.sleep(SETTLE_S)
    return gap


def _create(servers: str, topic: str, replicas: list[int]) -> None:
    admin = AdminClient({"bootstrap.servers": servers, **load.QUIET})
    new = NewTopic(topic, num_partitions=1, replica_assignment=[replicas], config={"min.insync.replicas": "2"})
    admin.create_topics([new])[topic].result(30)
    asyncio.run(_ask(servers, lambda client: _in_sync(client, topic)))


async def _ask(servers: str, question: Callable[[ClusterClient], Awaitable[T]]) -> T:
    client = ClusterClient(Env.real(), servers, client_id="bench")
    try:
        return await question(client)
    finally:
        await client.close()


async def _in_sync(client: ClusterClient, topic: str) -> bool:
    """Return when the partition is led and every node is in sync."""

    def everybody(metadata: MetadataResponse) -> bool:
        partitions = metadata.topics[0].partitions
        return bool(partitions) and len(partitions[0].isr_nodes) == len(NODES) and not partitions[0].error_code

    return await wait_for_metadata(client, [topic], everybody)


async def _active_controller(client: ClusterClient) -> int:
    asked = DescribeQuorumRequest.Topic
    request = DescribeQuorumRequest(
        topics=[asked(topic_name="__cluster_metadata", partitions=[asked.Partition(partition_index=0)])]
    )
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            answer = (await client.any_broker(request)).topics[0].partitions[0]
        except (LinkError, ClientError):
            answer = None
        if answer is not None and answer.error_code == ErrorCode.NONE and answer.leader_id > 0:
            return int(answer.leader_id)
        assert time.monotonic() < deadline, "there is no active controller"
        await asyncio.sleep(0.1)
