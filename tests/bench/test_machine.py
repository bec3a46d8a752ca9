"""A measurement is repeated while others disturb it, for as long as there is patience."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from bench import machine
from bench.machine import Machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="benchmarks read /proc")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What all have used of the machine's CPU, at each look; the last one stays."""
    looks: list[float] = []

    def seconds() -> float:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    monkeypatch.setattr(machine, "_busy_seconds", seconds)
    monkeypatch.setattr(machine, "_own_seconds", lambda pids: 0.0)
    monkeypatch.setattr(machine, "LOOK_S", 0.001)
    return looks


def attempts() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def test_without_patience_a_disturbed_measurement_is_kept_and_counted(busy: list[float]) -> None:
    busy += [0.0, 1000.0]
    watched = Machine(patience_s=0)
    assert watched.undisturbed(attempts().__next__) == 1
    assert (watched.measured, watched.disturbed) == (1, 1)
    assert str(watched).startswith("1 of 1 measurements were disturbed")


def test_with_patience_it_waits_for_a_quiet_moment_and_measures_again(busy: list[float]) -> None:
    busy += [0.0, 1000.0, 1000.0, 1000.0, 1000.0, 2000.0, 2000.0]
    watched = Machine(patience_s=30)
    assert watched.undisturbed(attempts().__next__) == 2
    assert (watched.measured, watched.disturbed) == (1, 0)


def test_what_a_measurement_itself_uses_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"busy": 0.0, "own": 0.0}
    monkeypatch.setattr(machine, "_busy_seconds", lambda: used["busy"])
    monkeypatch.setattr(machine, "_own_seconds", lambda pids: used["own"])

    def work() -> None:
        used["busy"] += 1000
        used["own"] += 1000

    watched = Machine(patience_s=0)
    watched.undisturbed(work)
    assert watched.disturbed == 0
