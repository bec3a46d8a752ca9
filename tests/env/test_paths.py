"""Paths are joined and split alike on every disk."""

from __future__ import annotations

import pytest

from blumfeld.env import paths


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("/data", "orders-0", "0.log"), "/data/orders-0/0.log"),
        (("/data/", "orders-0"), "/data/orders-0"),
        (("/", "data"), "/data"),
        (("", "data"), "data"),
        (("/",), "/"),
        (("data", ""), "data"),
    ],
)
def test_joining(parts: tuple[str, ...], joined: str) -> None:
    assert paths.join(*parts) == joined


@pytest.mark.parametrize(
    ("path", "parent", "name"),
    [
        ("/data/orders-0", "/data", "orders-0"),
        ("/data/", "/", "data"),
        ("data", ".", "data"),
        ("a/b/", "a", "b"),
    ],
)
def test_splitting(path: str, parent: str, name: str) -> None:
    assert (paths.parent(path), paths.name(path)) == (parent, name)
