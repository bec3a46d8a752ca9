"""A bar: when it appears, what it shows, and that nothing of it stays."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

from blumfeld.cli.progress import AFTER_S, BYTES, EVERY_S, Bar
from blumfeld.env.clock import ManualClock


class Screen:
    """A terminal that remembers all that was drawn on it, and a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        self.console = Console(file=self.stream, force_terminal=True, width=100, color_system=None)

    def bar(self, total: int | None, unit: str, *, wanted: bool = True) -> Bar:
        return Bar("working", total, unit, wanted=wanted, clock=self.clock.monotonic, console=self.console)

    @property
    def drawn(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_work_that_ends_at_once_has_none(screen: Screen) -> None:
    with screen.bar(10, "records") as bar:
        bar.advance(9)
        screen.clock.advance(AFTER_S - 0.01)
        bar.advance()
    assert screen.drawn == ""
    assert bar.done == 10


def test_it_appears_after_a_moment_with_all_that_was_done(screen: Screen) -> None:
    with screen.bar(1000, "records") as bar:
        bar.advance(300)
        screen.clock.advance(AFTER_S)
        bar.advance(50)
    assert "working" in screen.drawn
    assert "350/1000 records" in screen.drawn


def test_it_moves_now_and_then_only(screen: Screen) -> None:
    with screen.bar(1000, "records") as bar:
        screen.clock.advance(AFTER_S)
        bar.advance(350)
        screen.clock.advance(EVERY_S)
        bar.advance(60)
        bar.advance(70)
    assert "410/1000 records" in screen.drawn
    assert bar.done == 480
    assert "480/1000 records" not in screen.drawn


@pytest.mark.parametrize(
    ("total", "unit", "shown"),
    [(4_000_000, BYTES, "1.0/4.0 MB"), (None, BYTES, "1.0/? MB"), (None, "records", "1,000,000 records")],
)
def test_bytes_and_unknown_totals(screen: Screen, total: int | None, unit: str, shown: str) -> None:
    with screen.bar(total, unit) as bar:
        screen.clock.advance(AFTER_S)
        bar.advance(1_000_000)
    assert shown in screen.drawn


def test_one_that_is_not_wanted_never_appears(screen: Screen) -> None:
    with screen.bar(10, "records", wanted=False) as bar:
        screen.clock.advance(10)
        bar.advance()
    assert screen.drawn == ""


def test_without_a_terminal_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, time\nfrom blumfeld.cli.progress import Bar\n"
        "with Bar('w', 9, 'records', clock=iter(range(9)).__next__) as bar: bar.advance()\n"
        "print(any(name.split('.')[0] == 'rich' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
