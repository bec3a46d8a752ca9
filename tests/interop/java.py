"""Java and Apache Kafka's jars, for the tests that ask the real thing.

The jars lie in $KAFKA_LIBS, or else in ~/.cache/apache-kafka, where Maven puts them on first use (java/pom.xml
names the release). A machine without Java skips these tests and says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

POM = Path(__file__).parent / "java" / "pom.xml"
FETCH_TIMEOUT_S = 600


class JarsMissing(Exception):
    """The jars are not there and cannot be fetched; the text says why."""


def libs_directory() -> Path:
    """Where the jars lie or would lie."""
    return Path(os.environ.get("KAFKA_LIBS") or Path.home() / ".cache" / "apache-kafka")


@cache
def kafka_jars() -> list[str]:
    """Apache Kafka's jars with all they need, fetched if they are not there. JarsMissing where they can't be."""
    if not any(libs_directory().glob("kafka_2*.jar")):
        _fetch()
    return sorted(str(jar) for jar in libs_directory().glob("*.jar"))


def require_java() -> list[str]:
    """The jars, for a test that needs Java; skips it where Java or the jars are missing."""
    if shutil.which("java") is None:
        pytest.skip("needs Java: no `java` on the path")
    try:
        return kafka_jars()
    except JarsMissing as missing:
        pytest.skip(f"needs Apache Kafka's jars: {missing}")


def class_path(jars: list[str]) -> str:
    return os.pathsep.join(jars)


def _fetch() -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise JarsMissing(f"none in {libs_directory()}, and no `mvn` on the path to fetch them")
    libs_directory().mkdir(parents=True, exist_ok=True)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={libs_directory()}"],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise JarsMissing(f"Maven took more than {FETCH_TIMEOUT_S} s") from None
    if done.returncode:
        raise JarsMissing(f"Maven failed: {(done.stdout + done.stderr).strip()[-300:]}")
