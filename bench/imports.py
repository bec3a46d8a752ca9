"""How long the imports of a serving broker take, apart from the interpreter's own start.

A broker is started once under `-X importtime` and one record is produced, which tells every module that it loads;
then children import just those, beside children that import nothing. Tracing would slow the imports down, so it is
not timed itself. CPU time is measured: nothing is waited for, and other processes do not count.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from bench.first_ack import seconds_to_first_ack
from bench.peers.ours import BlumfeldPeer

TRACE = "PYTHONPROFILEIMPORTTIME"
IMPORT_ALL = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:  # of another platform: who wanted it does without, too
        pass
"""


def import_seconds(directory: Path, times: int) -> list[float]:
    """`times` measurements: a child that imports all modules of a serving broker, less one that imports none."""
    modules = modules_of_a_broker(directory)
    measured = []
    for _ in range(times + 1):
        bare = _seconds([])
        measured.append(_seconds(modules) - bare)
    return measured[1:]  # the first one may have had files to read from the device


def modules_of_a_broker(directory: Path) -> list[str]:
    """What a broker that has acknowledged a record has imported, in order, the interpreter's own left out."""
    os.environ[TRACE] = "1"
    try:
        bare = subprocess.run([sys.executable, "-c", ""], capture_output=True, check=True).stderr
        with BlumfeldPeer(directory / "peer") as peer:
            seconds_to_first_ack(peer)
            peer.stop()
    finally:
        del os.environ[TRACE]
    own = set(_traced(bare))
    return [name for name in _traced((directory / "peer" / "1.log").read_bytes()) if name not in own]


def _traced(output: bytes) -> list[str]:
    lines = [line for line in output.decode().splitlines() if line.startswith("import time:")]
    names = [line.rpartition("|")[2].strip() for line in lines]
    return [name for name in names if all(part.isidentifier() for part in name.split("."))]


def _seconds(modules: list[str]) -> float:
    before = _children()
    subprocess.run([sys.executable, "-c", IMPORT_ALL, *modules], check=True)
    return _children() - before


def _children() -> float:
    """CPU time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
