"""Apache Kafka's own log and tools in one Java process, for the tests that let it judge our files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.interop.java import class_path, require_java

PROGRAM = Path(__file__).parent / "java" / "Logs.java"
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Dfile.encoding=UTF-8"]
FILES = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
COMPLAINTS = ("Found", "mismatch", "Mismatch", "isvalid: false", "corrupt", "Exception", "misplaced")
GAPS = "Non-consecutive"


class KafkaLogs:
    """`java/Logs.java`, which says what it can be asked."""

    def __init__(self) -> None:
        command = ["java", *QUICK, "-cp", class_path(require_java()), str(PROGRAM)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, *words: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                assert "error" not in answer, answer
                return answer
        raise AssertionError("Java has gone")

    def close(self) -> None:
        self._process.communicate(timeout=30)


def files_of(directory: Path) -> list[Path]:
    """Every file of a partition that DumpLogSegments can read."""
    return sorted(path for path in directory.iterdir() if path.suffix in FILES)


def dump(*files: Path, options: tuple[str, ...] = ("--deep-iteration",), has_gaps: bool = False) -> str:
    """What DumpLogSegments says of files; fails where it complains. `has_gaps`: offsets are missing, as they should."""
    names = ",".join(str(file) for file in files)
    command = ["java", *QUICK, "-cp", class_path(require_java()), "org.apache.kafka.tools.DumpLogSegments"]
    done = subprocess.run(
        [*command, *options, "--files", names], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for complaint in COMPLAINTS if has_gaps else (*COMPLAINTS, GAPS):
        assert complaint not in done.stdout, done.stdout[done.stdout.index(complaint) :][:1000]
    return done.stdout
