"""CRC-32C, over any buffer without copying it.

Owns the way to the function: the `crc32c` package's `__init__` reads its own version through
`importlib.metadata`, which costs a starting broker more than all of our own messages do. The extension inside
it is loaded alone; where that fails, the package is imported as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any


def _load() -> Callable[[Any], int]:
    package = find_spec("crc32c")
    spec = package and PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
    if not spec or not spec.loader:
        from crc32c import crc32c as imported

        return imported
    module: Any = sys.modules.get(spec.name)
    if module is None:
        sys.modules[spec.name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
    function: Callable[[Any], int] = module.crc32c
    return function


crc32c: Callable[[Any], int] = _load()
"""The checksum of a buffer: `crc32c(buffer) -> int`."""
