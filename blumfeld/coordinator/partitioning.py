"""Which partition of an internal topic a group or transactional id belongs to: Java's string hash, as in Apache Kafka.

Apache Kafka brokers, other brokers of ours and clients' tools must all come to the same partition.
"""

from __future__ import annotations

_INT32_MIN = -(1 << 31)


def java_hash(text: str) -> int:
    """`String.hashCode()`: over UTF-16 code units, wrapped to a signed 32-bit number."""
    value = 0
    if text.isascii():
        for code in text.encode():
            value = (31 * value + code) & 0xFFFFFFFF
    else:
        units = text.encode("utf-16-be", "surrogatepass")
        for position in range(0, len(units), 2):
            value = (31 * value + (units[position] << 8 | units[position + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def partition_for(key: str, partitions: int) -> int:
    """The partition of `key`; |MIN_VALUE| is 0, as in Kafka's `Utils.abs`."""
    value = java_hash(key)
    return 0 if value == _INT32_MIN else abs(value) % partitions
