"""Apache Kafka and Blumfeld asked the same: they differ where `docs/compatibility.md` says so, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.peers.kafka import KafkaPeer
from blumfeld.testing import Cluster
from tests.interop.differential.compare import (
    BEGIN,
    END,
    MISSING,
    Difference,
    Row,
    differences,
    matches,
    rows,
    unexplained,
)
from tests.interop.differential.play import play
from tests.interop.java import require_java

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "log.retention.ms": "-1",  # the script's records are old
}


@pytest.fixture
def apache_kafka(tmp_path: Path) -> Iterator[str]:
    require_java()
    peer = KafkaPeer(tmp_path / "kafka")
    with open(tmp_path / "kafka" / "1" / "server.properties", "a", encoding="utf-8") as properties:
        properties.writelines(f"{name}={value}\n" for name, value in SETTINGS.items())
    with peer:
        peer.start()
        peer.wait_ready()
        yield peer.bootstrap_servers


@pytest.fixture
def blumfeld(tmp_path: Path) -> Iterator[str]:
    with Cluster(data=tmp_path / "ours", profile="none", config=SETTINGS) as cluster:
        yield cluster.bootstrap_servers


@pytest.mark.java
@pytest.mark.slow
def test_the_differences_are_exactly_those_that_are_listed(apache_kafka: str, blumfeld: str) -> None:
    kafka, ours = play(apache_kafka), play(blumfeld)
    assert len(kafka) > 900
    new, stale = unexplained(differences(kafka, ours), rows())
    assert not new, "not in docs/compatibility.md:\n" + "\n".join(map(str, new))
    assert not stale, "no longer different:\n" + "\n".join(map(str, stale))


def test_every_row_of_the_table_says_why() -> None:
    table = rows()
    assert len(table) > 50
    assert all(row.why for row in table)


KAFKA = {
    "same": {"error_code": "NONE"},
    "other": {"topics": [{"name": "a", "offset": 1, "ids": [1, 2]}, {"name": "b"}, {"name": "a", "offset": 3}]},
    "closed": "connection closed",
}
OURS = {
    "same": {"error_code": "NONE"},
    "other": {"topics": [{"name": "a", "offset": 2, "ids": [1]}, {"name": "a", "offset": 3}]},
    "closed": {"error_code": "NONE"},
}
FOUND = [
    Difference("other", "topics[a].offset", "1", "2"),
    Difference("other", "topics[a].ids", "[1, 2]", "[1]"),
    Difference("other", "topics[b]", "(something)", MISSING),
    Difference("closed", "answer", "connection closed", "(something)"),
]


def test_differences_are_named_by_step_and_path() -> None:
    assert differences(KAFKA, OURS) == FOUND


def test_a_row_explains_what_it_matches() -> None:
    table = [Row("oth*", "topics[a].*", "*", "*", "why"), Row("closed", "answer", "connection closed", "*", "why")]
    assert unexplained(FOUND, table) == ([FOUND[2]], [])
    stale = Row("other", "topics[b]", "(something)", "else", "why")
    assert unexplained(FOUND, [*table, stale]) == ([FOUND[2]], [stale])


def test_what_is_written_into_the_table_is_read_out_of_it() -> None:
    odd = Difference("a step", "topics[a].text", "with | and\nmore", "*plain*")
    line = (
        f"{str(odd).replace('| a step |', '| `a step` |').replace('| topics[a].text |', '| `topics[a].text` |')} why |"
    )
    (row,) = rows(f"{BEGIN}\n| step | field | Apache Kafka | Blumfeld | why |\n|---|---|\n{line}\n{END}")
    assert row == Row(*odd, "why")
    assert row.explains(odd)


def test_stars_match_and_brackets_are_brackets() -> None:
    assert matches("topics[a].offset", "topics[a].*")
    assert matches("topics[a].offset", "*offset")
    assert not matches("topicsa.offset", "topics[a].offset")
