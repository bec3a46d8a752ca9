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
from tempfile import TemporaryDirectory

import pytest

POM = Path(__file__).parent / "java" / "pom.xml"
FETCH_TIMEOUT_S = 600
LAST = "kafka_2*.jar"
"""The jar that is put there last, so that with it all are there."""


class JarsMissing(Exception):
    """The jars are not there and cannot be fetched; the text says why."""


def libs_directory() -> Path:
    """Where the jars lie or would lie."""
    return Path(os.environ.get("KAFKA_LIBS") or Path.home() / ".cache" / "apache-kafka")


@cache
def kafka_jars() -> list[str]:
    """Apache Kafka's jars with all they need, fetched if they are not there. JarsMissing where they can't be."""
    if not _are_there():
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


def _are_there() -> bool:
    return any(libs_directory().glob(LAST))


def _fetch() -> None:
    """By Maven into a directory beside, by one process at a time; what is fetched is there as a whole or not at all."""
    import fcntl  # not at the top: where there is no such module, tests that need no jars run all the same

    libs = libs_directory()
    maven = shutil.which("mvn")
    if maven is None:
        raise JarsMissing(f"none in {libs}, and no `mvn` on the path to fetch them")
    libs.mkdir(parents=True, exist_ok=True)
    with (libs / "fetching.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _are_there():
            with TemporaryDirectory(dir=libs) as directory:
                _run_maven(maven, directory)
                jars = sorted(Path(directory).glob("*.jar"), key=lambda jar: jar.match(LAST))
                for jar in jars:
                    jar.replace(libs / jar.name)


def _run_maven(maven: str, directory: str) -> None:
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={directory}"],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise JarsMissing(f"Maven took more than {FETCH_TIMEOUT_S} s") from None
    if done.returncode:
        raise JarsMissing(f"Maven failed: {(done.stdout + done.stderr).strip()[-300:]}")
