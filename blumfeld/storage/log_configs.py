"""The settings of all logs: the broker's options with each topic's overrides over them.

Owns the step from options to `LogConfig`. Topics mostly have no overrides, or the same ones: equal settings are one
object, worked out once (a thousand topics made at once would otherwise spend a fifth of their time here).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from blumfeld.config.topics import topic_config
from blumfeld.storage.log_config import LogConfig

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

KEPT = 256
"""How many different sets of overrides are remembered."""
BROKER_WIDE = ("producer.id.expiration.ms", "blumfeld.max.decompressed.bytes")


class LogConfigs:
    """What every log obeys. Replaced whole when the broker's own options change."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[tuple[tuple[str, str], ...], LogConfig] = {}
        self.default = self.of({})
        """Of a topic without overrides."""

    def of(self, overrides: Mapping[str, str] | None) -> LogConfig:
        """The settings of a topic with these (complete) overrides."""
        key = tuple(sorted(overrides.items())) if overrides else ()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            config = self._config
            values = {**topic_config(config, overrides), **{name: config[name] for name in BROKER_WIDE}}
            found = self._known[key] = LogConfig.from_topic(values)
        return found
