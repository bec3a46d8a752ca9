"""Below `launch/`, only `env/` touches the world: clock, chance, files and sockets have one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[2] / "blumfeld"
_FREE = {"env", "launch", "testing", "cli"}
"""`env` is the door; the others run above the broker, in the user's process."""

_BANNED = {
    "fcntl",
    "io",
    "mmap",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "time",
    "uuid",
}
_BANNED_CALLS = {"open"}
_BANNED_ATTRIBUTES = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}


def _files() -> list[Path]:
    return sorted(
        path
        for path in _PACKAGE.rglob("*.py")
        if path.parent != _PACKAGE and path.relative_to(_PACKAGE).parts[0] not in _FREE
    )


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not _is_type_checking(child):
            yield child
            yield from _nodes(child)


def trespasses(source: str) -> list[str]:
    """What `source` does that only `env/` may: `line: what` each."""
    found = []
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in _BANNED_CALLS:
                    found.append(f"{node.lineno}: calls {called.id}()")
                elif (
                    isinstance(called, ast.Attribute)
                    and isinstance(called.value, ast.Name)
                    and (called.value.id, called.attr) in _BANNED_ATTRIBUTES
                ):
                    found.append(f"{node.lineno}: calls {called.value.id}.{called.attr}()")
        found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in _BANNED]  # type: ignore[attr-defined]
    return found


def test_only_env_touches_the_world() -> None:
    assert [
        f"{path.relative_to(_PACKAGE)}:{trespass}" for path in _files() for trespass in trespasses(path.read_text())
    ] == []


def test_a_trespass_would_be_seen() -> None:
    source = "import os.path\nfrom time import monotonic\nx = open('f')\ndatetime.now()\nself.disk.open('f')\n"
    assert trespasses(source) == ["1: imports os.path", "2: imports time", "3: calls open()", "4: calls datetime.now()"]
    assert trespasses("if TYPE_CHECKING:\n    from random import Random\nimport asyncio\n") == []
