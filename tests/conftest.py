"""`--require-java`: where Java is, a test that needs it and skips has failed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.interop import java


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-java", action="store_true", help="a test that needs Java fails where it would be skipped"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("--require-java") and report.skipped and _needs_java(item, report):
        report.outcome = "failed"
        report.longrepr = f"Java is required, but this was skipped: {report.longreprtext}"
    return report


def _needs_java(item: pytest.Item, report: pytest.TestReport) -> bool:
    """By its mark; or by where it was skipped, should it have none."""
    return item.get_closest_marker("java") is not None or java.__file__ in report.longreprtext
