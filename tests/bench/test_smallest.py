"""Every benchmark in its smallest size, without Apache Kafka: it runs, and has a figure for each row."""

from __future__ import annotations

import re
import sys

import pytest

from bench import __main__ as everything
from bench import broker, cluster, failover, protocol, topics

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="benchmarks read /proc")


def rows(output: str) -> dict[str, str]:
    """Our column, by figure."""
    cells = [[cell.strip() for cell in line.split("|")] for line in output.splitlines() if line.startswith("|")]
    return {row[1]: row[3] for row in cells[2:]}


def test_one_broker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "SETTLE_S", 0.05)
    monkeypatch.setattr(broker, "PAUSE_S", 0.0)
    assert broker.main(["--alone", "--starts", "1", "--repeats", "1", "--scale", "0.001", "--warm-up", "0"]) == 0
    found = rows(capsys.readouterr().out)
    assert len(found) == 20
    assert all(found.values())


def test_topics(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "SETTLE_S", 0.05)
    assert topics.main(["--alone", "--topics", "10", "--rounds", "1", "--watch", "0.05"]) == 0
    found = rows(capsys.readouterr().out)
    assert len(found) == 8
    assert all(found.values())


def test_three_nodes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "LEAD_IN_S", 0.1)
    monkeypatch.setattr(failover, "RECOVERED_ACKS", 10)
    monkeypatch.setattr(failover, "SETTLE_S", 0.0)
    assert cluster.main(["--alone", "--rounds", "1", "--scale", "0.001", "--kills", "1"]) == 0
    found = rows(capsys.readouterr().out)
    assert len(found) == 5 + 2 * len(failover.SCENARIOS)
    assert all(found.values())


def test_the_protocol_alone_judges_decoding_beside_kio(capsys: pytest.CaptureFixture[str]) -> None:
    assert protocol.main(["--scale", "0.001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (judged,) = [line for line in lines if line.startswith("Produce v9, decode")]
    assert re.search(r"must be ≤ 2\.5×: (met|missed)$", judged)
    assert lines[-1].startswith(("missed: Produce v9, decode", "every goal"))


def test_without_a_name_all_that_the_goals_of_one_broker_are_about_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, list[str]]] = []

    def run(name: str, arguments: list[str]) -> int:
        ran.append((name, arguments))
        return 0

    monkeypatch.setattr(everything, "run", run)
    common = ["--alone", "--patience", "5"]
    assert everything.main(common) == 0
    assert ran == [("broker", common), ("topics", common), ("protocol", [])]
    assert everything.main(["topics", "--rounds", "1"]) == 0
    assert ran[3:] == [("topics", ["--rounds", "1"])]
    with pytest.raises(SystemExit):
        everything.main(["--rounds", "1"])
    assert everything.main(["nonsense"]) == 2
    assert len(ran) == 4
