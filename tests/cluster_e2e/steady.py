"""A producer that sends one record every few milliseconds and notes when each was acknowledged.

Owns one thread. Every record carries its number, so that what arrived can be compared with what was acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

from confluent_kafka import Producer

INTERVAL_S = 0.005
EXACT: Mapping[str, Any] = {"acks": "all", "enable.idempotence": True}


class SteadyProducer:
    """`with SteadyProducer(servers, topic) as producer: …`; numbers from 0 on go to one partition.

    Args:
        settings: of the client, beside where to connect; idempotent with acks=all by default.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        partition: int = 0,
        interval_s: float = INTERVAL_S,
        settings: Mapping[str, Any] = EXACT,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._interval_s = interval_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady-producer", daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "linger.ms": 0,
                "message.timeout.ms": 120_000,
                "log_level": 0,
                **settings,
            }
        )
        self.acknowledged: list[int] = []
        """Numbers of records, as their acknowledgements came."""
        self.times: list[float] = []
        """When they came; monotonic seconds."""
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Send no more, and wait until all that was sent is acknowledged or has failed."""
        self._ending.set()
        self._thread.join(150)
        assert not self._thread.is_alive()

    def wait_for_acks(self, count: int = 1, timeout_s: float = 60.0) -> None:
        """Return when that many more records are acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + timeout_s
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, (
                f"no {count} acknowledgements within {timeout_s:g} s: {self.failed[-3:]}"
            )
            time.sleep(0.005)

    def longest_gap(self, since: float, until: float | None = None) -> float:
        """The longest time between two acknowledgements, of which the later came after `since`; seconds."""
        until = time.monotonic() if until is None else until
        gaps = [later - earlier for earlier, later in pairwise(self.times) if since < later <= until]
        assert gaps, "nothing was acknowledged in that time"
        return max(gaps)

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._ending.is_set():
            try:
                self._producer.produce(
                    self._topic, str(number).encode(), partition=self._partition, on_delivery=self._on_delivery
                )
                number += 1
            except BufferError:
                pass
            due += self._interval_s
            while (left := due - time.monotonic()) > 0:
                self._producer.poll(left)
            self._producer.poll(0)
        self._producer.flush(120)

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is None:
            self.times.append(time.monotonic())
            self.acknowledged.append(int(message.value()))
        else:
            self.failed.append(str(error))
