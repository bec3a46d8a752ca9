"""The cluster simulation as a test: 300 seeds, each kind of fault in enough of them; and it notices planted bugs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.cluster.__main__ import run_seed, run_seeds
from tests.sim.cluster.plants import (
    Patcher,
    act_on_history,
    count_only_the_committed_isr,
    expand_before_catch_up,
    ignore_divergence,
    keep_what_the_leader_has_not,
    shrink_before_it_is_committed,
)
from tests.sim.cluster.world import FAULTS, World

SEEDS = 300
QUICKLY_FOUND = (
    expand_before_catch_up,
    count_only_the_committed_isr,
    shrink_before_it_is_committed,
    ignore_divergence,
    act_on_history,
    keep_what_the_leader_has_not,
)
"""The others of `plants.PLANTS` take some hundred seeds, two of them more than a thousand:
`python -m tests.sim.cluster --plants`."""


@pytest.mark.slow
def test_the_cluster_stays_whole() -> None:
    happened, steps, failures = run_seeds(0, SEEDS)
    assert not failures, f"{len(failures)} of {SEEDS} seeds failed: {failures[0][1]}"
    assert steps >= 1_000 * SEEDS
    rare = {what: happened[what] for what in (*FAULTS, "election") if happened[what] < 0.05 * SEEDS}
    assert not rare, f"in too few of {SEEDS} seeds: {rare}"


def test_a_seed_is_one_universe() -> None:
    first, second = World(7).run(), World(7).run()
    assert (first.now, first.step, first.counts) == (second.now, second.step, second.counts)


@pytest.mark.slow
@pytest.mark.parametrize("plant", QUICKLY_FOUND, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patcher], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:
        plant(planted)
        found = next((seed for seed in range(100) if run_seed(seed)[0] is None), None)
    assert found is not None
    world, failure = run_seed(found)
    assert world is not None, f"seed {found} fails without the planted bug too: {failure}"
