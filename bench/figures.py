"""What a benchmark measured: every value by figure and peer; medians, ratios and goals as a table.

Owns no measuring. A goal is about our median, or about its ratio to the other peer's; a goal about a ratio is left
open where there is nobody to compare with.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MET = "met"
MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a figure keeps, above or below; `of_ratio`: the ratio of our median to the other peer's does."""

    bound: float
    at_most: bool
    of_ratio: bool

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}{'×' if self.of_ratio else ''}"

    def judge(self, ours: float, ratio: float | None) -> str:
        """Met, missed, or nothing where there is no ratio to judge."""
        value = ratio if self.of_ratio else ours
        if value is None:
            return ""
        return MET if (value <= self.bound if self.at_most else value >= self.bound) else MISSED


def at_most(bound: float) -> Goal:
    """Our median is `bound` at most."""
    return Goal(bound, at_most=True, of_ratio=False)


def at_least(bound: float) -> Goal:
    """Our median is `bound` at least."""
    return Goal(bound, at_most=False, of_ratio=False)


def ratio_at_most(bound: float) -> Goal:
    """Our median is `bound` times the other's at most."""
    return Goal(bound, at_most=True, of_ratio=True)


def ratio_at_least(bound: float) -> Goal:
    """Our median is `bound` times the other's at least."""
    return Goal(bound, at_most=False, of_ratio=True)


class Value(NamedTuple):
    """One measured value, and the figure it is of."""

    figure: str
    value: float
    goal: Goal | None = None


class Figures:
    """The values of one benchmark. Figures keep the order in which they were first added; the first peer is ours."""

    def __init__(self, peers: list[str]) -> None:
        self._peers = peers
        self._values: dict[str, dict[str, list[float]]] = {}
        self._goals: dict[str, Goal] = {}

    def add(self, figure: str, peer: str, value: float, goal: Goal | None = None) -> None:
        """Note one measured value."""
        self._values.setdefault(figure, {}).setdefault(peer, []).append(value)
        if goal is not None:
            self._goals[figure] = goal

    def add_all(self, peer: str, values: Iterable[Value]) -> None:
        """Note several values of one peer."""
        for value in values:
            self.add(value.figure, peer, value.value, value.goal)

    def values(self, figure: str, peer: str) -> list[float]:
        """Everything that was noted for a figure of a peer, in order."""
        return self._values.get(figure, {}).get(peer, [])

    def median(self, figure: str, peer: str) -> float | None:
        """The median, None where nothing was noted."""
        values = self.values(figure, peer)
        return statistics.median(values) if values else None

    def ratio(self, figure: str) -> float | None:
        """Our median over the other peer's."""
        if len(self._peers) < 2:
            return None
        ours, other = (self.median(figure, peer) for peer in self._peers[:2])
        return None if ours is None or not other else ours / other

    def verdict(self, figure: str) -> str:
        """Whether the figure's goal is met; nothing where it has none or it cannot be judged."""
        goal, ours = self._goals.get(figure), self.median(figure, self._peers[0])
        return "" if goal is None or ours is None else goal.judge(ours, self.ratio(figure))

    def missed(self) -> list[str]:
        """The figures whose goal is missed."""
        return [figure for figure in self._values if self.verdict(figure) == MISSED]

    def report(self, *, with_range: bool = False) -> str:
        """The table, and below it what is missed."""
        missed = self.missed()
        end = f"missed: {'; '.join(missed)}" if missed else "every goal that can be judged is met"
        return f"{self.table(with_range=with_range)}\n\n{end}"

    def table(self, *, with_range: bool = False) -> str:
        """A Markdown table of medians, ratios and goals; `with_range`: smallest and largest values too."""
        lines = [
            f"| figure | n | {' | '.join(self._peers)} | ratio | goal |",
            f"|---|---:|{'---:|' * len(self._peers)}---:|---|",
        ]
        for figure in self._values:
            cells = [self._cell(figure, peer, with_range) for peer in self._peers]
            ratio, goal = self.ratio(figure), self._goals.get(figure)
            judged = "" if goal is None else f"{goal} {self.verdict(figure)}".strip()
            count = max(len(self.values(figure, peer)) for peer in self._peers)
            lines.append(
                f"| {figure} | {count} | {' | '.join(cells)} | {'' if ratio is None else f'{ratio:.2f}'} | {judged} |"
            )
        return "\n".join(lines)

    def _cell(self, figure: str, peer: str, with_range: bool) -> str:
        median, values = self.median(figure, peer), self.values(figure, peer)
        if median is None:
            return ""
        if not with_range or len(values) < 2:
            return _number(median)
        return f"{_number(median)} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
