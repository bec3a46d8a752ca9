"""Apache Kafka's command line tools, all in one Java process: a JVM takes longer to start than a tool to run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.interop.java import class_path, require_java

PROGRAM = Path(__file__).parent / "java" / "Tools.java"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Dfile.encoding=UTF-8")
TOOLS = "org.apache.kafka.tools"


class ToolFailed(Exception):
    """A tool ended with another code than 0; the text is what it said."""


class JavaTools:
    """`tools.run("TopicCommand", "--list", …)`; classes are of `org.apache.kafka.tools` unless they say otherwise."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["java", *QUICK, "-cp", class_path(require_java()), str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, tool: str, *arguments: str) -> str:
        """Run a tool; its standard output. Raises ToolFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        name = tool if "." in tool else f"{TOOLS}.{tool}"
        print(json.dumps([name, *arguments]), file=self._process.stdin, flush=True)
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if answer["code"]:
                    raise ToolFailed(f"{tool} {' '.join(arguments)}: {answer['code']}\n{answer['out']}{answer['err']}")
                return str(answer["out"])
        raise AssertionError("Java has gone")

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)
