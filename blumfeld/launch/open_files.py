"""How many files and connections the process may hold open: the soft limit goes up to the hard one.

Shells start programs with a soft limit of 1,024 or even 256 (macOS), which a broker with a thousand clients or
partitions passes easily. Nothing else of the process depends on the limit being low.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from blumfeld.config.sources import Layer

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

_OPTION = "blumfeld.max.open.files"
_FEWEST = 64
_ENOUGH = 1 << 20
_DEFAULT_OF_MACOS = 10_240
"""macOS takes no more than this where the hard limit is "unlimited"."""


def raise_open_files() -> int | None:
    """Raise the soft limit of open files as far as it goes; what it is now, None where there is no such thing."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    for wanted in (_ENOUGH, _DEFAULT_OF_MACOS) if unlimited else (hard,):
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                return wanted
    return soft if soft != resource.RLIM_INFINITY else None


def bound_open_files(config: Config, limit: int | None) -> Config:
    """`config` with no more segment files open than half of what the process may have: the rest is for connections."""
    if limit is None or config.int(_OPTION) <= limit // 2:
        return config
    fewer = str(max(limit // 2, _FEWEST))
    return config.with_layer(Layer(f"this process may open {limit} files", {_OPTION: fewer}))
