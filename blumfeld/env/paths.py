"""Paths as plain strings with forward slashes: joining and splitting, on every disk alike.

Pure; knows no disk. Invariant: results carry no trailing slash.
"""

from __future__ import annotations


def join(parent: str, *names: str) -> str:
    """`parent` and the names below it, joined by slashes; an empty parent is the current directory."""
    path = "/".join(name for name in (parent.rstrip("/"), *names) if name)
    return "/" + path if parent.startswith("/") and not parent.strip("/") else path


def name(path: str) -> str:
    """The last part of `path`."""
    return path.rstrip("/").rpartition("/")[2]


def parent(path: str) -> str:
    """The directory that holds `path`; `.` for a bare name."""
    head, slash, _ = path.rstrip("/").rpartition("/")
    return head or ("/" if slash else ".")
