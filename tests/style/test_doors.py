"""Below `launch/`, only `env/` touches the world: clock, chance, files and sockets have one door.

What may be imported there is listed, so that nothing gets in by a name nobody thought of; and of the modules that are
listed, and of an event loop, what opens a file or a socket or reads a clock is not used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parents[2] / "blumfeld"
_FREE = {"env", "launch", "testing", "cli", "__main__.py"}
"""`env` is the door; the others run above the broker, in the user's process."""

_PURE = {
    "__future__",
    "base64",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "decimal",
    "difflib",
    "enum",
    "errno",
    "functools",
    "hashlib",
    "heapq",
    "inspect",
    "ipaddress",
    "itertools",
    "json",
    "logging",
    "re",
    "struct",
    "types",
    "typing",
}
"""Modules that only compute. What else there is of Python's own has rules: see `_SHARED`."""

_LIBRARIES = {"blumfeld", "construct", "cramjam", "crc32c"}

_SHARED = {
    "asyncio": {
        *("AbstractEventLoop", "BaseTransport", "BufferedProtocol", "Protocol", "Transport", "WriteTransport"),
        *("CancelledError", "Condition", "Event", "Future", "Lock", "Task", "TimerHandle"),
        *("current_task", "ensure_future", "gather", "get_running_loop", "shield", "sleep", "timeout"),
        *("wait", "wait_for", "wrap_future"),
    },
    "concurrent.futures": {"Executor", "Future", "ThreadPoolExecutor", "as_completed"},
    "importlib": {"import_module", "machinery", "util"},
    "importlib.machinery": {"PathFinder"},
    "importlib.util": {"find_spec", "module_from_spec"},
    "sys": {"float_info", "modules", "stdout"},
    "threading": {"Event", "Lock"},
}
"""Of these modules, what is used: the rest of them opens connections, starts threads and processes, or more."""

_NAMES = {"__builtins__", "__import__", "eval", "input", "open"}
"""Built-in functions that are not even mentioned."""

_METHODS = {
    *("add_reader", "add_writer", "connect_read_pipe", "connect_write_pipe", "sendfile", "subprocess_exec"),
    *("create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection", "create_unix_server"),
    *("getaddrinfo", "getnameinfo", "sock_accept", "sock_connect", "sock_recv", "sock_sendall", "subprocess_shell"),
    *("time", "FileHandler"),
}
"""What an event loop can, or `logging`; `.time` reads a clock whatever it is read from."""

_COMPUTED_IMPORTS = {"blumfeld.protocol.keys", "blumfeld.protocol.checksum"}
"""Modules that import by a name that they compute, as others may only by a text that begins with our package."""


def _files() -> list[Path]:
    return sorted(path for path in _PACKAGE.rglob("*.py") if path.relative_to(_PACKAGE).parts[0] not in _FREE)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from _nodes(other)
        else:
            yield child
            yield from _nodes(child)


def _may_import(name: str) -> bool:
    return name in _SHARED or name.split(".")[0] in _PURE | _LIBRARIES


def trespasses(source: str, module: str = "") -> list[str]:
    """What `source` does that only `env/` may: `line: what` each."""
    return [
        f"{getattr(node, 'lineno', 0)}: {what}"
        for node in _nodes(ast.parse(source))
        for what in _trespasses_of(node, module)
    ]


def _trespasses_of(node: ast.AST, module: str) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (f"imports {alias.name}" for alias in names if not _may_import(alias.name))
            yield from (f"renames {alias.name}" for alias in names if alias.name in _SHARED and alias.asname)
        case ast.ImportFrom(name, names, level):
            if level or not _may_import(name or ""):
                yield f"imports {name}"
            allowed = _SHARED.get(name or "")
            yield from (
                f"imports {name}.{alias.name}" for alias in names if allowed is not None and alias.name not in allowed
            )
        case ast.Attribute(ast.Name(owner), attribute) if owner in _SHARED and attribute not in _SHARED[owner]:
            yield f"uses {owner}.{attribute}"
        case ast.Attribute(_, attribute) if attribute in _METHODS:
            yield f"uses .{attribute}"
        case ast.Name(name) if name in _NAMES:
            yield f"uses {name}"
        case ast.Call(ast.Name("import_module") | ast.Attribute(_, "import_module"), [argument, *_]):
            if module not in _COMPUTED_IMPORTS and not _is_of_our_package(argument):
                yield "imports what it computes"


def _is_of_our_package(argument: ast.expr) -> bool:
    """A text, or a formatted one, that begins with the package's name."""
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
    return isinstance(first, ast.Constant) and str(first.value).startswith("blumfeld.")


def test_only_env_touches_the_world() -> None:
    assert [
        f"{path.relative_to(_PACKAGE)}:{trespass}"
        for path in _files()
        for trespass in trespasses(path.read_text(), _module(path))
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import os.path",
        "import os as harmless",
        "from os import path",
        "from time import monotonic",
        "import pathlib",
        "import io",
        "import _io",
        "import posix",
        "import codecs",
        "import uuid",
        "import secrets",
        "import datetime",
        "from datetime import datetime",
        "import builtins",
        "from . import clock",
        "import asyncio as a",
        "from asyncio import open_connection",
        "asyncio.start_server(serve)",
        "from concurrent.futures import ProcessPoolExecutor",
        "from threading import Timer",
        "import importlib as i",
        "importlib.import_module('os')",
        "import_module(f'{name}')",
        "import importlib.resources",
        "__import__('os')",
        "x = open('f')",
        "opened = map(open, names)",
        "now = asyncio.get_running_loop().time()",
        "self._loop.create_server(make)",
        "logging.FileHandler('f')",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import os",
        "def later():\n    import random",
    ],
)
def test_a_trespass_would_be_seen(source: str) -> None:
    assert len(trespasses(source)) == 1


def test_what_is_no_trespass() -> None:
    assert trespasses("if TYPE_CHECKING:\n    from random import Random\nimport asyncio\n") == []
    assert trespasses("self.disk.open('f')\nself.clock.now()\nasyncio.sleep(1)\n") == []
    assert trespasses("importlib.import_module(f'blumfeld.broker.api.{name}')\nfrom blumfeld.env import clock\n") == []
