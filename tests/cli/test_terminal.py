"""What commands show on a terminal: tables, bars, hints; and Ctrl-C."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from blumfeld.cli.session import show
from blumfeld.testing import Kafka
from tests.cli.shell import PATIENCE_S, Shell, Terminal, commit, environment, in_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals are pseudo-terminals here")

ROOT = Path(__file__).parents[2]
CTRL_C, CTRL_D = "\x03", "\x04"


def shown(shell: Shell, *arguments: str) -> list[str]:
    """The lines of a command that succeeds."""
    with in_terminal(*arguments, bootstrap=shell.servers) as terminal:
        assert terminal.ends() == 0, terminal.text
        return [line.rstrip() for line in terminal.text.splitlines()]


def has(kafka: Kafka, topic: str, count: int) -> bool:
    return kafka.offsets(topic)[0] == count


def test_topics_are_a_table_with_a_rule_and_numbers_to_the_right(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic(partitions=3)
    lines = shown(shell, "topics")
    assert re.fullmatch(r"topic +partitions +replicas", lines[0])
    assert set(lines[1]) == {"─"}
    (row,) = [line for line in lines if line.startswith(topic)]
    assert row.split() == [topic, "3", "1"]
    assert row.endswith("1")
    assert len(row) == len(lines[0])


def test_a_topic_and_a_group_are_described_in_tables(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic(partitions=2)
    lines = shown(shell, "describe", topic)
    assert lines[0].startswith(f"{topic}  id ")
    assert [line.split() for line in lines[-2:]] == [["0", "1", "0", "1", "1"], ["1", "1", "0", "1", "1"]]
    group = f"group-of-{topic}"
    kafka.produce(topic, b"1", partition=0)
    commit(shell.servers, group, topic, 0)
    lines = shown(shell, "groups", group)
    assert lines[0] == f"{group}  Empty"
    assert lines[-1].split() == [topic, "0", "0", "1", "1"]


def test_a_property_is_explained(shell: Shell) -> None:
    assert "num.partitions (int)" in shown(shell, "config", "num.partitions")
    lines = shown(shell, "config", "--list", "num.partitions")
    assert lines[0].split() == ["name", "type", "default", "meaning"]


def test_where_there_are_no_rows_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show([], ("a", "b"), as_json=False, nothing="no such things")
    assert capsys.readouterr().out == "a\tb\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show([], ("a", "b"), as_json=False, nothing="no such things")
    assert capsys.readouterr().out == "no such things\n"


def test_records_are_typed_line_by_line(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    with in_terminal("produce", topic, bootstrap=shell.servers) as terminal:
        terminal.until(lambda: "Ctrl-D ends" in terminal.text)
        terminal.type("one\n")
        terminal.until(partial(has, kafka, topic, 1))
        terminal.type("two\n" + CTRL_D)
        assert terminal.ends() == 0
        assert "produced 2 records" in terminal.text
    assert [record.value for record in kafka.consume(topic)] == [b"one", b"two"]


def test_ctrl_c_ends_what_waits_for_lines_and_says_what_was_done(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    with in_terminal("produce", topic, bootstrap=shell.servers) as terminal:
        terminal.until(lambda: "Ctrl-D ends" in terminal.text)
        for count, line in enumerate(("one\n", "two\n"), 1):
            terminal.type(line)
            terminal.until(partial(has, kafka, topic, count))
        terminal.type(CTRL_C)
        assert terminal.ends() == 0
        assert re.search(r"produced [12] records? to", terminal.text), "the second may not have been acknowledged yet"


def test_a_long_produce_has_a_bar_that_goes_when_it_ends(shell: Shell, kafka: Kafka) -> None:
    topic = kafka.topic()
    with in_terminal("produce", topic, bootstrap=shell.servers, stdin=subprocess.PIPE) as terminal:
        pipe = terminal.process.stdin
        assert pipe is not None

        def said_more() -> bool:
            pipe.write(b"line\n")
            pipe.flush()
            return "producing" in terminal.text

        terminal.until(said_more)
        pipe.close()
        assert terminal.ends() == 0
        assert re.search(r"produced \d+ records to", terminal.text.splitlines()[-1])


def test_consuming_into_a_file_writes_the_records_there_and_nothing_of_a_bar(
    shell: Shell, kafka: Kafka, tmp_path: Path
) -> None:
    topic = kafka.topic()
    kafka.produce(topic, *(str(n).encode() for n in range(100)))
    with (
        open(tmp_path / "records", "wb") as file,
        in_terminal("consume", topic, "--from-start", bootstrap=shell.servers, stdout=file) as terminal,
    ):
        assert terminal.ends() == 0
    assert (tmp_path / "records").read_text() == "".join(f"{n}\n" for n in range(100))


def test_ctrl_c_stops_the_broker_of_make_run_and_make_says_that_all_is_well(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    make = ["make", "-C", str(ROOT), "-o", "venv", "run", f"BIN={tmp_path}", f"ARGS=--port 0 --ready-file {ready}"]
    (tmp_path / "blumfeld").write_text(f'#!/bin/sh\nexec {sys.executable} -m blumfeld "$@"\n')
    (tmp_path / "blumfeld").chmod(0o755)
    clean = {name: value for name, value in environment().items() if not name.startswith("MAKE")}
    with Terminal(make, clean) as terminal:
        terminal.until(lambda: "bootstrap" in terminal.text)
        assert ready.exists()
        terminal.type(CTRL_C)
        assert terminal.ends() == 0, terminal.text
        assert "Interrupt" not in terminal.text
        assert "Error" not in terminal.text


def test_a_broker_without_a_terminal_has_nothing_to_take(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "blumfeld", "up", "--port", "0", "--own-foreground"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("blumfeld")
        assert os.getpgid(up.pid) == os.getpgrp()
        up.terminate()
        assert up.wait(PATIENCE_S) == 0
