"""The documentation is what the table says."""

from __future__ import annotations

from pathlib import Path

from blumfeld.config.document import describe_option, markdown
from blumfeld.config.options import BROKER_OPTIONS, TOPIC_OPTIONS

_PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert _PAGE.read_text() == markdown(), "write it again: python -m blumfeld.config.document > docs/configuration.md"


def test_the_page_has_every_option() -> None:
    page = markdown()
    assert all(f"| `{name}`" in page for name in (*BROKER_OPTIONS, *TOPIC_OPTIONS))


def test_one_option_in_plain_text() -> None:
    assert describe_option(BROKER_OPTIONS["num.partitions"]).splitlines() == [
        "num.partitions (int)",
        "  Partitions of a topic made without a count.",
        "  default: 1",
        "  allowed: a whole number, at least 1",
        "  environment: KAFKA_NUM_PARTITIONS",
    ]
    assert describe_option(BROKER_OPTIONS["num.io.threads"]).endswith("nothing here depends on it")
