"""What the stories ask a cluster, and what they wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from blumfeld.cluster.link import Link, LinkError
from blumfeld.env.environment import Env
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest, DescribeQuorumResponse
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from blumfeld.testing import Cluster, Kafka
from tests.cluster_e2e.steady import SteadyProducer

METADATA_TOPIC = "__cluster_metadata"
EVERYBODY = [1, 2, 3]
BACK_S = 60.0
"""How long a broker may take until it is back in every ISR, on a machine that is busy with something else."""


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = BACK_S) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s:g} s it is still not so that {what}"
        time.sleep(0.01)


async def _quorum(cluster: Cluster) -> DescribeQuorumResponse:
    topic = DescribeQuorumRequest.Topic
    request = DescribeQuorumRequest(
        topics=[topic(topic_name=METADATA_TOPIC, partitions=[topic.Partition(partition_index=0)])]
    )
    last: Exception = LookupError("no broker runs")
    for broker in cluster.brokers.values():
        if not broker.is_running:
            continue
        link = Link(Env.real(), broker.host, broker.port, client_id="story")
        try:
            response: DescribeQuorumResponse = await link.send(request, timeout_ms=10_000)
        except LinkError as error:
            last = error
        else:
            return response
        finally:
            link.close()
    raise last


def active_controller(cluster: Cluster) -> int:
    """The node that leads the metadata quorum; waits until there is one."""
    found = -1

    def look() -> bool:
        nonlocal found
        try:
            partition = asyncio.run(_quorum(cluster)).topics[0].partitions[0]
        except LinkError:
            return False
        found = partition.leader_id if not partition.error_code else -1
        return found >= 0

    wait_until(look, "a controller is active")
    return found


def elect_preferred_leaders(cluster: Cluster) -> int:
    """ElectLeaders for every partition that is not led by its preferred leader; how many were elected."""

    async def ask() -> int:
        broker = next(b for b in cluster.brokers.values() if b.is_running)
        link = Link(Env.real(), broker.host, broker.port, client_id="story")
        try:
            response = await link.send(ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=30_000))
        finally:
            link.close()
        assert not response.error_code
        return sum(not p.error_code for t in response.replica_election_results for p in t.partition_result)

    return asyncio.run(ask())


def leader(cluster: Cluster, topic: str, partition: int = 0) -> int:
    """The partition's leader; waits until there is one."""
    found = -1

    def look() -> bool:
        nonlocal found
        found = cluster.kafka.leaders(topic)[partition]
        return found >= 0

    wait_until(look, f"{topic}-{partition} has a leader")
    return found


def wait_for_isr(
    cluster: Cluster, topic: str, isr: list[int] | None = None, partition: int = 0, *, at: int | None = None
) -> None:
    """Return when the ISR is that, as any broker tells it or the one `at`; everybody by default."""
    wanted = EVERYBODY if isr is None else isr
    what = f"the ISR of {topic}-{partition} is {wanted}"
    if at is None:
        wait_until(lambda: cluster.kafka.isr(topic, partition) == wanted, what)
    else:
        broker = cluster.brokers[at]
        with Kafka(f"{broker.host}:{broker.port}") as kafka:  # it knows no other broker, and so asks no other
            wait_until(lambda: kafka.isr(topic, partition) == wanted, f"{what} at broker {at}")


def wait_until_all_in_sync(cluster: Cluster) -> None:
    """Return when every partition of every topic has all its replicas in sync."""
    kafka = cluster.kafka

    def in_sync() -> bool:
        topics = kafka._run(kafka._cluster.metadata()).topics
        return all(sorted(p.isr_nodes) == sorted(p.replica_nodes) for topic in topics for p in topic.partitions)

    wait_until(in_sync, "all replicas are in sync")


def put_leader_on(cluster: Cluster, node: int, config: Mapping[str, str] | None = None) -> str:
    """A new topic of one partition that this node leads."""
    for _ in range(100):  # the controller draws who leads
        topic = cluster.kafka.topic(partitions=1, config=config)
        if leader(cluster, topic) == node:
            return topic
    raise AssertionError(f"broker {node} never came to lead")


def numbers(cluster: Cluster, topic: str, partition: int = 0) -> list[int]:
    """The numbers in a partition, in its order."""
    return [int(record.value or b"-1") for record in cluster.kafka.consume(topic, partition=partition)]


def assert_exact(cluster: Cluster, topic: str, producer: SteadyProducer) -> None:
    """All that an idempotent producer sent is there once and in order; call it after `finish`."""
    assert not producer.failed, producer.failed[:3]
    found = numbers(cluster, topic)
    assert found == sorted(set(found)), "doubled or out of order"
    lost = set(producer.acknowledged).difference(found)
    assert not lost, f"{len(lost)} acknowledged records are lost: {sorted(lost)[:10]}"
    assert found == list(range(len(found)))
