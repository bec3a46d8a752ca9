"""The settings of one log, parsed: what the hot path reads without looking anything up.

Owns the list of a topic's options that storage obeys and their defaults; names and meanings are Kafka's topic options
with `.` and `-` as `_`. Knows nothing of where values come from (`config/` does).

Invariant: immutable; a changed topic gets a new one (`Log.update_config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FOREVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogConfig:
    """One log's settings. Times in milliseconds, sizes in bytes; −1 is "no limit" where Kafka says so."""

    cleanup_policy: tuple[str, ...] = ("delete",)
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_type: str = "producer"
    compression_zstd_level: int = 3
    delete_retention_ms: int = 86_400_000
    file_delete_delay_ms: int = 60_000
    flush_messages: int = FOREVER
    flush_ms: int = FOREVER
    index_interval_bytes: int = 4096
    max_compaction_lag_ms: int = FOREVER
    max_message_bytes: int = 1_048_588
    message_timestamp_after_max_ms: int = 3_600_000
    message_timestamp_before_max_ms: int = FOREVER
    message_timestamp_type: str = "CreateTime"
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    preallocate: bool = False
    retention_bytes: int = -1
    retention_ms: int = 604_800_000
    segment_bytes: int = 1_073_741_824
    segment_index_bytes: int = 10_485_760
    segment_jitter_ms: int = 0
    segment_ms: int = 604_800_000
    max_decompressed_bytes: int = 64 << 20
    producer_id_expiration_ms: int = 86_400_000
    verify_transactions: bool = False

    @property
    def compact(self) -> bool:
        """Whether the log is compacted: every record then needs a key."""
        return "compact" in self.cleanup_policy

    @property
    def delete(self) -> bool:
        """Whether old segments go by time and size."""
        return "delete" in self.cleanup_policy

    @property
    def roll_ms(self) -> int:
        """How long a segment takes records: not longer than one of them may wait for compaction (KIP-354)."""
        lag = self.max_compaction_lag_ms
        return lag if self.compact and 0 < lag < self.segment_ms else self.segment_ms

    @property
    def log_append_time(self) -> bool:
        """Whether the log stamps batches with the time of their arrival."""
        return self.message_timestamp_type == "LogAppendTime"

    @classmethod
    def from_topic(cls, values: Mapping[str, Any]) -> LogConfig:
        """From parsed values by Kafka's topic option names; options that are not storage's are passed over."""
        given: dict[str, Any] = {}
        for name in _NAMES:
            option = _OPTIONS.get(name, name.replace("_", "."))
            if option in values and values[option] is not None:
                value = values[option]
                given[name] = tuple(value) if name == "cleanup_policy" else value
        return cls(**given)


_NAMES = tuple(field.name for field in fields(LogConfig))
_OPTIONS: dict[str, str] = {
    "compression_gzip_level": "compression.gzip.level",
    "max_decompressed_bytes": "blumfeld.max.decompressed.bytes",
    "verify_transactions": "transaction.partition.verification.enable",
}
