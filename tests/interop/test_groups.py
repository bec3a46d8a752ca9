"""Consumer groups through every foreign client: members, rebalances, commits, restarts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from blumfeld.testing import Cluster
from blumfeld.testing.kafka import unique_name
from tests.interop.clients.all import CLIENTS
from tests.interop.clients.face import PATIENCE_S, Client, Member, Sent

ROOT = Path(__file__).parents[2]
PARTITIONS = 3


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.03)


def owned_once(members: Sequence[Member], topic: str) -> bool:
    """Every partition belongs to exactly one member."""
    owned = [tp for member in members for tp in member.assignment()]
    return sorted(owned) == [(topic, p) for p in range(PARTITIONS)]


@pytest.fixture
def topic(durable_broker: Cluster) -> str:
    return durable_broker.kafka.topic(partitions=PARTITIONS)


@pytest.fixture
def group() -> str:
    return unique_name("group")


@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_partition_is_owned_by_exactly_one_member(
    client: Client, durable_broker: Cluster, topic: str, group: str, size: int
) -> None:
    members = [client.join(group, topic) for _ in range(size)]
    try:
        # Not before all have joined: who owns a partition for a moment would read what the next owner reads again.
        durable_broker.kafka.wait_for_assignment(group, members=size, timeout=PATIENCE_S)
        assert client.group_members(group) == size
        idle = max(0, size - PARTITIONS)
        wait_for(
            lambda: owned_once(members, topic) and sum(not m.assignment() for m in members) == idle,
            f"each partition is owned once, {idle} members are idle",
        )
        client.produce(topic, [Sent(str(n).encode(), partition=n % PARTITIONS) for n in range(30)])
        wait_for(
            lambda: sorted(int(r.value or b"-1") for m in members for r in m.received()) == list(range(30)),
            "all records came, once each",
        )
    finally:
        for member in members:
            member.close()


def test_a_join_and_a_leave_move_partitions(client: Client, topic: str, group: str) -> None:
    first = client.join(group, topic)
    wait_for(lambda: owned_once([first], topic), "the first member owns all")
    second = client.join(group, topic)
    wait_for(
        lambda: owned_once([first, second], topic) and bool(first.assignment() and second.assignment()),
        "both own some",
    )
    second.close()
    wait_for(lambda: owned_once([first], topic), "the first member owns all again")
    first.close()
    wait_for(lambda: client.group_members(group) == 0, "the group is empty")


def test_partitions_of_a_killed_member_go_to_the_others(
    client: Client, durable_broker: Cluster, topic: str, group: str
) -> None:
    survivor = client.join(group, topic)
    wait_for(lambda: owned_once([survivor], topic), "the first member owns all")
    arguments = [client.name, durable_broker.bootstrap_servers, group, topic, "6000"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.interop.clients.victim", *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"assigned\n"
        victim.kill()
    wait_for(lambda: owned_once([survivor], topic), "the survivor owns all")
    survivor.close()


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_group_without_commits_begins_where_it_is_told(client: Client, topic: str, group: str, reset: str) -> None:
    client.produce(topic, [Sent(b"old", partition=0) for _ in range(3)])
    member = client.join(group, topic, reset=reset)
    wait_for(lambda: bool(member.assignment()), "the member has its assignment")

    def hears_of_new_ones() -> bool:
        client.produce(topic, [Sent(b"new", partition=0)])
        return any(record.value == b"new" for record in member.received())

    wait_for(hears_of_new_ones, "new records come")
    old = [record.offset for record in member.received() if record.value == b"old"]
    assert old == ([0, 1, 2] if reset == "earliest" else [])
    member.close()


def test_a_static_member_comes_back_to_what_it_had(client: Client, topic: str, group: str) -> None:
    first, second = (client.join(group, topic, instance=name) for name in ("one", "two"))
    wait_for(
        lambda: owned_once([first, second], topic) and bool(first.assignment() and second.assignment()),
        "both own some",
    )
    had = second.assignment()
    second.close()
    assert client.group_members(group) == 2  # its place is kept until its session ends
    again = client.join(group, topic, instance="two")
    wait_for(lambda: again.assignment() == had, "it has the same partitions")
    wait_for(lambda: owned_once([first, again], topic), "the other has kept its own")
    again.close()
    first.close()


@pytest.mark.parametrize("kind", [kind for kind in CLIENTS if kind.can_cooperate], ids=lambda kind: kind.name)
def test_members_that_cooperate_share_and_take_over(
    kind: type[Client], durable_broker: Cluster, topic: str, group: str
) -> None:
    client = kind(durable_broker.bootstrap_servers)
    first = client.join(group, topic, cooperates=True)
    wait_for(lambda: owned_once([first], topic), "the first member owns all")
    others = [client.join(group, topic, cooperates=True) for _ in range(2)]
    members = [first, *others]
    wait_for(
        lambda: owned_once(members, topic) and all(len(m.assignment()) == 1 for m in members), "each member owns one"
    )
    others[0].close()
    members.remove(others[0])
    wait_for(lambda: owned_once(members, topic), "the others own its partition")
    for member in members:
        member.close()


@pytest.mark.parametrize("wait", [True, False], ids=["sync", "async"])
def test_a_new_member_goes_on_from_the_commit(client: Client, topic: str, group: str, wait: bool) -> None:
    client.produce(topic, [Sent(str(n).encode(), partition=0) for n in range(10)])
    first = client.join(group, topic)
    wait_for(lambda: len(first.received()) == 10, "ten records came")
    first.commit(wait=wait)
    wait_for(lambda: client.committed(group, topic).get(0) == 10, "the commit is there")
    first.close()
    client.produce(topic, [Sent(str(n).encode(), partition=0) for n in range(10, 15)])
    second = client.join(group, topic)
    wait_for(lambda: len(second.received()) >= 5, "the next five came")
    assert [record.value for record in second.received()] == [str(n).encode() for n in range(10, 15)]
    second.close()


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)
def test_commits_and_groups_survive_a_restart_of_the_broker(kind: type[Client], tmp_path: Path) -> None:
    with Cluster(data=tmp_path / "data", timeout_s=PATIENCE_S) as cluster:
        topic, group = cluster.kafka.topic(partitions=PARTITIONS), unique_name("group")
        client = kind(cluster.bootstrap_servers)
        client.produce(topic, [Sent(str(n).encode(), partition=n % PARTITIONS) for n in range(30)])
        member = client.join(group, topic)
        wait_for(lambda: len(member.received()) == 30, "thirty records came")
        member.commit(wait=True)
        cluster.broker.restart()
        client.produce(topic, [Sent(str(n).encode(), partition=n % PARTITIONS) for n in range(30, 45)])
        wait_for(
            lambda: {int(r.value or b"-1") for r in member.received()} >= set(range(45)),
            "the member goes on after the restart",
        )
        assert client.committed(group, topic) == dict.fromkeys(range(PARTITIONS), 10)
        member.close()
        follower = client.join(group, topic)
        wait_for(lambda: len(follower.received()) >= 15, "a new member goes on from the commit")
        assert sorted(int(r.value or b"-1") for r in follower.received()) == list(range(30, 45))
        follower.close()
