"""Every statement may write so many lines in a while, and says how many it left out."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from blumfeld.env.clock import ManualClock
from blumfeld.launch.log_limit import BURST, INTERVAL_S, LogLimit


class Scene:
    """A logger whose handler is limited, by a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(LogLimit(self.clock.monotonic))
        self.logger = logging.getLogger("tests.limited")
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def complain(self, times: int) -> None:
        for number in range(times):
            self.logger.warning("number %d", number)

    def fail(self, times: int) -> None:
        for _ in range(times):
            try:
                raise ValueError("for the traceback")
            except ValueError:
                self.logger.exception("failed")


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.logger.removeHandler(scene.handler)


def test_a_burst_is_written_and_no_line_more(scene: Scene) -> None:
    scene.complain(BURST)
    assert len(scene.lines) == BURST
    scene.complain(1)
    assert len(scene.lines) == BURST


def test_statements_have_limits_of_their_own_and_tracebacks_count(scene: Scene) -> None:
    scene.complain(BURST + 1)
    scene.fail(BURST + 100)
    assert scene.stream.getvalue().count("Traceback") == BURST


def test_after_a_while_it_goes_on_and_says_what_was_left_out(scene: Scene) -> None:
    scene.complain(BURST + 7)
    scene.clock.advance(INTERVAL_S)
    scene.complain(2)
    assert scene.lines[BURST:] == ["number 0 (7 more like this in the last 10 s)", "number 1"]
    scene.clock.advance(INTERVAL_S)
    scene.complain(1)
    assert scene.lines[-1] == "number 0"
