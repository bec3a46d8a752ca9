"""Small rooms: no file over 600 lines, no function over 70, and every module says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_FILES = sorted(path for room in ("blumfeld", "tests", "bench") for path in (_ROOT / room).rglob("*.py"))
_MAX_FILE_LINES = 600
_MAX_FUNCTION_LINES = 70


def _name(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def _long_functions(tree: ast.AST) -> list[str]:
    return [
        f"{node.name}, line {node.lineno}: {lines} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > _MAX_FUNCTION_LINES
    ]


def test_files_and_functions_stay_small() -> None:
    complaints = []
    for path in _FILES:
        text = path.read_text()
        if (lines := text.count("\n")) > _MAX_FILE_LINES:
            complaints.append(f"{_name(path)}: {lines} lines, split it by noun")
        complaints += [f"{_name(path)}: {function}" for function in _long_functions(ast.parse(text))]
    assert complaints == []


def test_a_module_opens_with_what_it_is() -> None:
    complaints = []
    for path in _FILES:
        text = path.read_text()
        if not path.is_relative_to(_ROOT / "blumfeld") or (path.name == "__init__.py" and not text.strip()):
            continue
        docstring = ast.get_docstring(ast.parse(text))
        if not docstring or not docstring.splitlines()[0].endswith((".", ":", "?", "!")):
            complaints.append(f"{_name(path)}: no docstring that begins with a sentence")
    assert complaints == []
