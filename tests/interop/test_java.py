"""Tests that need Java: skipped where there is none, failed where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop import java

ROOT = Path(__file__).parents[2]
NEEDS_JAVA = "tests/coordinator/group/test_records.py::test_kafka_still_writes_these_bytes"


@pytest.mark.parametrize(
    ("options", "code", "outcome"),
    [((), 0, "SKIPPED"), (("--require-java",), 1, "FAILED")],
    ids=["may skip", "must not skip"],
)
def test_a_test_that_needs_java_where_there_is_none(
    options: tuple[str, ...], code: int, outcome: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, NEEDS_JAVA],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert outcome in done.stdout
    assert "needs Java: no `java` on the path" in done.stdout


MAVEN = """\
#!{python}
import sys, time
from pathlib import Path
out = Path(sys.argv[-1].removeprefix("-DoutputDirectory="))
open(r"{calls}", "a").write("called\\n")
for name in ("kafka_2.13-1.0.jar", "a.jar", "z.jar"):
    (out / name).write_text(name)
    time.sleep(0.05)
sys.exit({code})
"""
JARS = ["a.jar", "kafka_2.13-1.0.jar", "z.jar"]


@pytest.fixture
def libs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where jars are looked for: nothing is there yet."""
    monkeypatch.setenv("KAFKA_LIBS", str(tmp_path / "libs"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "libs"


def with_maven(tmp_path: Path, code: int) -> Path:
    """A Maven that fetches three jars one by one and ends with `code`; the file that counts its calls."""
    program, calls = tmp_path / "bin" / "mvn", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(MAVEN.format(python=sys.executable, calls=calls, code=code))
    program.chmod(0o755)
    return calls


def fetch() -> list[str]:
    return [Path(jar).name for jar in java.kafka_jars.__wrapped__()]


def test_jars_are_fetched_once_and_nobody_sees_half_of_them(libs: Path, tmp_path: Path) -> None:
    calls = with_maven(tmp_path, 0)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: fetch(), range(4))) == [JARS] * 4
    assert fetch() == JARS
    assert calls.read_text() == "called\n"


def test_where_maven_fails_no_jars_are_left(libs: Path, tmp_path: Path) -> None:
    with_maven(tmp_path, 1)
    with pytest.raises(java.JarsMissing, match="Maven failed"):
        fetch()
    assert not list(libs.rglob("*.jar"))


def test_without_maven_it_is_said_where_jars_were_looked_for(libs: Path) -> None:
    with pytest.raises(java.JarsMissing, match=str(libs)):
        fetch()
