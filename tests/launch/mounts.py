"""File systems of a test's own: small ones, read-only ones, seen by nobody else.

They live in a mount namespace that a waiting process holds open, so no rights are needed where the kernel lets users
have namespaces, and nothing is left behind however the test ends.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

TIMEOUT_S = 30.0


class Mounts:
    """`with Mounts("mount …") as mounts:` a command as `mounts.command` has it runs among these mounts."""

    def __init__(self, script: str) -> None:
        """`script`: shell commands that mount."""
        self._script = script
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mounts:
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("needs unshare and nsenter (util-linux) for a file system of its own")
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-ec",
            f"{self._script}\necho ready\nexec cat",
        ]
        self._holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, said = self._holder.communicate(timeout=TIMEOUT_S)
            pytest.skip(f"this system lets nobody mount in a namespace: {said.decode().strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._holder is not None
        self._holder.communicate(timeout=TIMEOUT_S)

    def command(self, command: Sequence[str]) -> list[str]:
        """`command`, run among these mounts."""
        assert self._holder is not None
        enter = ["nsenter", "--preserve-credentials", "--user", "--mount", f"--target={self._holder.pid}"]
        return [*enter, "--", *command]

    def path(self, path: Path) -> Path:
        """The path by which this process sees what is at `path` among these mounts."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{path}")
