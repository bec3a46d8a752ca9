"""Clocks: the manual one stands still, the adjustable one runs and jumps, the system's is the machine's."""

from __future__ import annotations

import time

import pytest

from blumfeld.env.clock import AdjustableClock, ManualClock, SystemClock


def test_the_system_clock_reads_the_machines_clocks() -> None:
    clock = SystemClock()
    assert abs(clock.time_ms() - time.time() * 1000) < 1000
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_a_manual_clock_moves_only_when_advanced() -> None:
    clock = ManualClock(time_ms=1_000, monotonic=5.0)
    assert (clock.time_ms(), clock.monotonic()) == (1_000, 5.0)
    clock.advance(1.5)
    clock.advance(ms=20)
    assert (clock.time_ms(), round(clock.monotonic(), 6)) == (2_520, 6.52)


def test_the_wall_clock_may_be_set_back_the_monotonic_one_never_goes_back() -> None:
    clock = ManualClock(time_ms=1_000, monotonic=5.0)
    clock.set_wall(10)
    assert (clock.time_ms(), clock.monotonic()) == (10, 5.0)
    with pytest.raises(ValueError, match="-1 ms"):
        clock.advance(ms=-1)


def test_an_adjustable_clock_runs_on_after_a_jump() -> None:
    base = ManualClock(time_ms=1_000, monotonic=5.0)
    clock = AdjustableClock(base)
    clock.advance(45)
    base.advance(ms=1)
    assert (clock.time_ms(), round(clock.monotonic(), 6), clock.offset_ms) == (46_001, 50.001, 45_000)
    with pytest.raises(ValueError, match="only advances"):
        clock.advance(-2)
