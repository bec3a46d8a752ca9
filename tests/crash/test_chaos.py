"""Chaos for 45 seconds; `make chaos SECONDS=…` does the same for longer, and with other seeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.chaos import Quota, journal, report, run

SECONDS = 45
SEED = int(os.environ.get("CHAOS_SEED", "7"))


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a slow machine a run takes up to three times as long
def test_nothing_acknowledged_is_lost_doubled_or_moved_whatever_happens_to_the_brokers(tmp_path: Path) -> None:
    outcome = run(SECONDS, SEED, tmp_path, Quota())
    print(report(outcome))
    assert outcome.passed, f"{report(outcome)}\n{journal(outcome)}"
