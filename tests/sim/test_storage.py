"""The storage simulation: 300 seeds hold, enough happens in them, and planted bugs are found."""

from __future__ import annotations

import pytest

from tests.sim.storage.__main__ import MUST_HAPPEN, run_seeds
from tests.sim.storage.plants import PLANTS, find

_SEEDS = 300
_CHUNK = 30


@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_seeds(first: int) -> None:
    happened, failures = run_seeds(first, _CHUNK)
    assert not failures, failures[0]
    print(f"seeds {first} to {first + _CHUNK - 1}: {dict(happened)}")
    for what in MUST_HAPPEN:
        assert happened[what] >= _CHUNK * 0.05, f"too little of {what}: {happened}"


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    found = find(name)
    assert found is not None, f"{name} was not found in 1,000 seeds"
    print(f"{name}: found by seed {found[0]}: {found[1].splitlines()[0]}")


def test_the_same_seed_lives_the_same_life() -> None:
    from tests.sim.storage.world import World

    lives = [World(7, 300).run() for _ in range(2)]
    assert lives[0].counts == lives[1].counts
    assert lives[0].log.log_end_offset == lives[1].log.log_end_offset
    assert lives[0].disk.calls == lives[1].disk.calls
