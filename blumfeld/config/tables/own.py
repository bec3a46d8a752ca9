"""Options that Apache Kafka does not have; all begin with `blumfeld.`. Data only."""

from __future__ import annotations

from blumfeld.config.values import Between, Option, Type

PREFIX = "blumfeld."

OPTIONS = (
    Option(
        "blumfeld.memory.max.bytes",
        Type.LONG,
        1 << 30,
        "The most that a broker without a data directory keeps in memory; further appends are refused. -1: no bound.",
        Between(1, also=-1),
    ),
    Option(
        "blumfeld.max.open.files",
        Type.INT,
        4_096,
        "How many segment files a broker holds open at once; the ones not used for longest are closed.",
        Between(64),
    ),
    Option(
        "blumfeld.max.decompressed.bytes",
        Type.INT,
        64 << 20,
        "The most that one compressed batch may become where it has to be opened.",
        Between(1 << 20),
    ),
    Option(
        "blumfeld.create.topics",
        Type.LIST,
        [],
        "Topics to make at the start, as name:partitions:replicas[:cleanup policy],… (KAFKA_CREATE_TOPICS).",
    ),
    Option(
        "blumfeld.control.port",
        Type.INT,
        -1,
        "The loopback port by which tests control the broker: faults, clock, snapshots. 0: any free port; -1: off.",
        Between(0, 65_535, -1),
    ),
)
