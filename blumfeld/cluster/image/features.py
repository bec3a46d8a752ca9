"""Finalized feature levels, and what each metadata.version means for the records we write.

Owns the table from metadata.version to record version. Must never know of brokers. `metadata.version` is a feature
like any other; level 0 means that a feature is off, and off features are not kept.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Final, NamedTuple

from blumfeld.protocol.messages.metadata_log import FeatureLevelRecord, ZkMigrationStateRecord
from blumfeld.protocol.schema import Record

METADATA_VERSION: Final = "metadata.version"
KRAFT_VERSION: Final = "kraft.version"

MINIMUM_METADATA_VERSION: Final = 17
"""3.7-IV2: directories in registrations and partitions, which this project always writes."""
LATEST_METADATA_VERSION: Final = 25
"""4.0-IV3: the level this project writes at, and the highest it claims."""


class UnsupportedFeature(Exception):
    """A feature is finalized at a level that this version does not know. The text says what to do."""


def refuse_unsupported(record: FeatureLevelRecord, supported: Mapping[str, Container[object]]) -> None:
    """Raise UnsupportedFeature unless that level may be finalized here; 0 is "off" and always may."""
    name, level = record.name, record.feature_level
    if level == 0 or level in supported.get(name, ()):
        return
    if name == METADATA_VERSION:
        known = f"{MINIMUM_METADATA_VERSION} to {LATEST_METADATA_VERSION} (Apache Kafka 4.0)"
        lower = "--release-version 4.0"
    else:
        known = "other levels" if name in supported else "no level"
        lower = f"--feature {name}=0"
    raise UnsupportedFeature(
        f"this cluster has {name} at level {level}, and this version supports {known} of it. Lower it with the version"
        f" that wrote it (kafka-features.sh downgrade {lower}), or start a version that knows it"
    )


class FeaturesImage(NamedTuple):
    """Finalized levels by feature name; `zk_migration_state` only so that a record is not lost."""

    levels: Mapping[str, int] = {}
    zk_migration_state: int = 0

    def level(self, name: str) -> int:
        return self.levels.get(name, 0)

    @property
    def metadata_version(self) -> int:
        return self.levels.get(METADATA_VERSION, LATEST_METADATA_VERSION)

    def to_records(self) -> Iterator[Record]:
        if METADATA_VERSION in self.levels:
            yield FeatureLevelRecord(name=METADATA_VERSION, feature_level=self.levels[METADATA_VERSION])
        for name, level in self.levels.items():
            if name != METADATA_VERSION:
                yield FeatureLevelRecord(name=name, feature_level=level)
        if self.zk_migration_state:
            yield ZkMigrationStateRecord(zk_migration_state=self.zk_migration_state)


class FeaturesDelta:
    """Replays feature levels over `image`. `changed` maps a feature to its new level."""

    __slots__ = ("changed", "image", "zk_migration_state")

    def __init__(self, image: FeaturesImage) -> None:
        self.image = image
        self.changed: dict[str, int] = {}
        self.zk_migration_state = image.zk_migration_state

    def replay_feature_level(self, record: FeatureLevelRecord) -> None:
        self.changed[record.name] = record.feature_level

    def apply(self) -> FeaturesImage:
        levels = {**self.image.levels, **self.changed}
        return FeaturesImage({name: level for name, level in levels.items() if level}, self.zk_migration_state)
