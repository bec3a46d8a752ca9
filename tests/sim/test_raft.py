"""The raft simulation, on every run: 300 seeds, each kind of fault among them, and bugs planted to be found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.raft.__main__ import main, run_seed, run_seeds
from tests.sim.raft.plants import PLANTS, Patcher
from tests.sim.raft.world import FAULTS, HAPPENINGS, World

SEEDS = 300
STEPS = 1_500


def test_seeds_hold_all_invariants_and_see_every_fault() -> None:
    happened, steps, committed, failures = run_seeds(0, SEEDS, STEPS)
    assert not failures, f"replay: python -m tests.sim.raft --seed {failures[0][0]}\n{failures[0][1]}"
    assert steps >= SEEDS * STEPS
    assert committed >= SEEDS * 50
    for what in (*FAULTS, *HAPPENINGS):
        share = happened[what] / SEEDS
        print(f"{what:<22} in {100 * share:5.1f} % of seeds")
        assert share >= 0.05, f"{what}: in {share:.1%} of seeds only"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found_within_a_thousand_seeds(
    plant: Callable[[Patcher], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as planted:
        plant(planted)
        found = next((seed for seed in range(1_000) if run_seed(seed, STEPS)[0] is None), None)
    assert found is not None
    world, failure = run_seed(found, STEPS)
    assert world is not None, f"seed {found} fails without the planted bug too: {failure}"


def test_a_seed_is_one_universe() -> None:
    def life(seed: int) -> object:
        world = World(seed, STEPS).run()
        ends = [(replica.core.epoch, replica.core.log.end, replica.applied) for replica in world.replicas]
        return world.now, world.steps, world.counts, ends

    assert life(7) == life(7)
    assert life(7) != life(8)


def test_a_failing_seed_says_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    next(plant for plant in PLANTS if plant.__name__ == "forget_the_fsync")(monkeypatch)
    monkeypatch.setattr("sys.argv", ["sim", "--seeds", "2", "--steps", "500"])
    assert main() == 1
    assert "python -m tests.sim.raft --seed 0 --steps 500" in capsys.readouterr().out
