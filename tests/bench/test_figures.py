"""Medians, ratios and goals of benchmarks."""

from __future__ import annotations

from bench.figures import Figures, at_most, ratio_at_least, ratio_at_most


def test_a_table_shows_medians_ratios_and_whether_goals_are_met() -> None:
    figures = Figures(["Ours", "Theirs"])
    for ours, theirs in ((2000.0, 1000.0), (90_000.0, 1000.0), (1000.0, 1.0)):
        figures.add("rate", "Ours", ours, ratio_at_least(2.0))
        figures.add("rate", "Theirs", theirs)
    figures.add("alone", "Ours", 0.25, at_most(0.2))
    assert figures.table().splitlines() == [
        "| figure | n | Ours | Theirs | ratio | goal |",
        "|---|---:|---:|---:|---:|---|",
        "| rate | 3 | 2,000 | 1,000 | 2.00 | ≥ 2× met |",
        "| alone | 1 | 0.25 |  |  | ≤ 0.2 missed |",
    ]
    assert figures.missed() == ["alone"]
    assert figures.report().splitlines()[-1] == "missed: alone"
    assert "| rate | 3 | 2,000 (1,000–90,000) | 1,000 (1–1,000) |" in figures.table(with_range=True)


def test_a_goal_about_a_ratio_stays_open_without_the_other_peer() -> None:
    figures = Figures(["Ours"])
    figures.add("latency", "Ours", 0.05, ratio_at_most(0.8))
    assert figures.verdict("latency") == ""
    assert "| latency | 1 | 0.05 |  | ≤ 0.8× |" in figures.table()
