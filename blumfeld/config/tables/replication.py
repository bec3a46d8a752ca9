"""Options of replication between brokers. Data only."""

from __future__ import annotations

from blumfeld.config.values import Between, Dynamic, Option, Type

_CLUSTER = Dynamic.CLUSTER_WIDE
_MAX_LONG = (1 << 63) - 1

OPTIONS = (
    Option(
        "min.insync.replicas",
        Type.INT,
        1,
        "A produce with acks=all is refused while fewer replicas than this are in sync.",
        Between(1),
        _CLUSTER,
    ),
    Option(
        "replica.lag.time.max.ms",
        Type.LONG,
        30_000,
        "A follower that was not at the leader's end for this long leaves the in-sync replicas.",
    ),
    Option("replica.fetch.min.bytes", Type.INT, 1, "A follower's fetch waits until there is at least this much."),
    Option("replica.fetch.wait.max.ms", Type.INT, 500, "How long a follower's fetch waits for records."),
    Option(
        "replica.fetch.max.bytes", Type.INT, 1 << 20, "The most of one partition in a follower's fetch.", Between(0)
    ),
    Option(
        "replica.fetch.response.max.bytes",
        Type.INT,
        10 << 20,
        "The most records in the answer to a follower's fetch.",
        Between(0),
    ),
    Option(
        "replica.fetch.backoff.ms",
        Type.INT,
        1_000,
        "The pause of a follower after a fetch that failed.",
        Between(0),
    ),
    Option("replica.socket.timeout.ms", Type.INT, 30_000, "How long a follower waits for the answer to a fetch."),
    Option(
        "replica.socket.receive.buffer.bytes",
        Type.INT,
        64 << 10,
        "The receive buffer of a follower's socket.",
        effect=False,
    ),
    Option(
        "replica.high.watermark.checkpoint.interval.ms",
        Type.LONG,
        5_000,
        "How often the high watermarks are written down.",
    ),
    Option(
        "num.replica.fetchers",
        Type.INT,
        1,
        "Fetchers for each leading broker. Here there is one.",
        Between(1),
        _CLUSTER,
        effect=False,
    ),
    Option(
        "replica.selector.class", Type.STRING, None, "The class that chooses whom consumers read from.", effect=False
    ),
    Option(
        "leader.replication.throttled.rate",
        Type.LONG,
        _MAX_LONG,
        "Bytes a second that a leader sends to throttled replicas.",
        Between(0),
        Dynamic.PER_BROKER,
        effect=False,
    ),
    Option(
        "follower.replication.throttled.rate",
        Type.LONG,
        _MAX_LONG,
        "Bytes a second that throttled replicas fetch.",
        Between(0),
        Dynamic.PER_BROKER,
        effect=False,
    ),
    Option(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Type.LONG,
        _MAX_LONG,
        "Bytes a second for moving replicas between directories.",
        Between(0),
        Dynamic.PER_BROKER,
        effect=False,
    ),
)
