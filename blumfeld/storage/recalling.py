"""A producer's last batches, found again in the log after a restart.

A snapshot keeps each producer's last batch alone. After a restart, the retry of one of the four before it would be
neither the next one nor known, and OUT_OF_ORDER_SEQUENCE_NUMBER is the end of an idempotent producer, although all it
sent is there. (Apache Kafka answers so; it is seldom seen there, because another replica leads while one restarts.)
The batches themselves say what was written, so they are looked up, once for each producer and only when one asks.

Invariant: what is recalled lies before what was known, in the same epoch, and never more than `BATCHES_KEPT` in all.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from blumfeld.protocol.batch import CONTROL_FLAG
from blumfeld.protocol.errors import ErrorCode
from blumfeld.storage.index import CorruptIndex
from blumfeld.storage.producers import BATCHES_KEPT, MAX_SEQUENCE, Producer, WrittenBatch
from blumfeld.storage.scan import BadBatch
from blumfeld.storage.validate import Refused

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from blumfeld.storage.scan import HeaderFields
    from blumfeld.storage.segment import Segment

_log = logging.getLogger(__name__)

REACH_BYTES = 4 << 20
"""How far back is looked: requests in flight when a broker stops are among the last things in its log."""


def recall(log: Log, producer: Producer) -> None:
    """Put the batches before the oldest known one in front of it, as far as they are found. Raises Refused."""
    producer.recalled = True
    known = producer.batches
    if not known or known[0].last_sequence < 0:
        return
    found: list[WrittenBatch] = []
    try:
        left, offset = REACH_BYTES, known[0].first_offset
        for segment in reversed(log.segments):
            if segment.base_offset >= offset or not segment.size:
                continue
            end = _position_of(segment, offset)
            start = segment.offset_index.boundary_before(max(end - left, 0))
            here = [_written(header) for _, header, _ in segment.batches(start, end) if _is_of(header, producer)]
            found = [*here, *found]
            left -= end - start
            if left <= 0 or len(known) + len(found) >= BATCHES_KEPT:
                break
    except OSError as error:
        log.home.fail(error, f"reading {log.topic_partition}")
        raise Refused(ErrorCode.KAFKA_STORAGE_ERROR, f"log directory {log.home.path} is offline ({error})") from error
    except (BadBatch, CorruptIndex) as error:
        _log.warning(
            "%s: batches of producer %d are not recalled: %s", log.topic_partition, producer.producer_id, error
        )
    missing = BATCHES_KEPT - len(known)
    known.extendleft(reversed(found[-missing:] if missing > 0 else []))


def _position_of(segment: Segment, offset: int) -> int:
    found = segment.find(offset)
    return segment.size if found is None else found[0]


def _is_of(header: HeaderFields, producer: Producer) -> bool:
    return header[9] == producer.producer_id and header[10] == producer.epoch and not header[5] & CONTROL_FLAG


def _written(header: HeaderFields) -> WrittenBatch:
    delta, sequence = header[6], header[11]
    return WrittenBatch(sequence, (sequence + delta) & MAX_SEQUENCE, header[0] + delta, delta, header[8])
