"""Placement: spread over brokers and racks, leaders never fenced."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from blumfeld.cluster.controller.placement import Placement, UsableBroker
from blumfeld.env.entropy import SeededEntropy


def place(brokers: list[UsableBroker], partitions: int, factor: int, seed: int = 1) -> list[list[int]]:
    placement = Placement(brokers, SeededEntropy(seed))
    assert placement.check(factor) is None
    return [placement.place(factor) for _ in range(partitions)]


def on_racks(**racks: list[int]) -> list[UsableBroker]:
    return [UsableBroker(broker, rack, False) for rack, brokers in racks.items() for broker in brokers]


def test_leaders_and_replicas_are_spread_evenly() -> None:
    brokers = [UsableBroker(n, None, False) for n in range(5)]
    placed = place(brokers, 50, 3)
    assert set(Counter(replicas[0] for replicas in placed).values()) == {10}
    counts = Counter(broker for replicas in placed for broker in replicas)
    assert max(counts.values()) - min(counts.values()) <= 10


def test_each_rack_has_a_replica_as_long_as_there_are_racks() -> None:
    racks = {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
    rack_of = {broker: rack for rack, brokers in racks.items() for broker in brokers}
    for seed in range(20):
        for replicas in place(on_racks(**racks), 12, 3, seed):
            assert {rack_of[broker] for broker in replicas} == {"a", "b", "c"}


def test_uneven_racks_are_used_as_far_as_they_go() -> None:
    for seed in range(20):
        for replicas in place(on_racks(a=[1], b=[2, 3, 4]), 12, 4, seed):
            assert sorted(replicas) == [1, 2, 3, 4]


def test_followers_of_one_leader_spread_too() -> None:
    placed = place([UsableBroker(n, None, False) for n in range(4)], 400, 2)
    followers = Counter((leader, follower) for leader, follower in placed)
    assert len(followers) == 12


def test_refusals_name_the_reason() -> None:
    placement = Placement([UsableBroker(1, None, True)], SeededEntropy(1))
    error = placement.check(1)
    assert error is not None
    assert error.message == "All brokers are currently fenced, or have all their log directories cordoned."
    error = placement.check(0)
    assert error is not None
    assert error.message == "Invalid replication factor 0: the replication factor must be positive."


@given(
    brokers=st.dictionaries(
        st.integers(0, 30), st.tuples(st.sampled_from([None, "a", "b", "c"]), st.booleans()), min_size=1, max_size=12
    ),
    factor=st.integers(1, 12),
    partitions=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_no_broker_twice_and_no_fenced_leader(
    brokers: dict[int, tuple[str | None, bool]], factor: int, partitions: int, seed: int
) -> None:
    usable = [UsableBroker(broker, rack, fenced) for broker, (rack, fenced) in brokers.items()]
    placement = Placement(usable, SeededEntropy(seed))
    unfenced = {broker.id for broker in usable if not broker.fenced}
    assert (placement.check(factor) is None) == (bool(unfenced) and factor <= len(usable))
    if placement.check(factor) is not None:
        return
    for _ in range(partitions):
        replicas = placement.place(factor)
        assert len(set(replicas)) == factor
        assert replicas[0] in unfenced
        assert set(replicas) <= set(brokers)
