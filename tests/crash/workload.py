"""Steady load by foreign clients: idempotent producers, producers with acks=1, and groups; every ack is noted.

Each client has a thread. Producers send at their own rate while they have less than `BACKLOG` records under way, so
that after an outage the load comes back by itself. Values are `name:partition:number:padding`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, Producer
from kafka import KafkaConsumer as PythonConsumer
from kafka import KafkaProducer as PythonProducer
from kafka.errors import KafkaError

from tests.crash.history import Ack, Consuming, History, Producing

BACKLOG = 4000
TURN_S = 0.01
PADDING = b"." * 60
GIVE_UP_MS = 600_000
"""No record is given up in a run: what is not acknowledged is under way until the end."""
QUICK = {
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "socket.timeout.ms": 2500,
    "topic.metadata.refresh.interval.ms": 2000,
    "log_level": 0,
}


LOGGER = logging.getLogger("rdkafka")
DEBUG = {"debug": os.environ["CHAOS_DEBUG"], "log_level": 7} if "CHAOS_DEBUG" in os.environ else {}
"""What librdkafka's consumers shall say, for looking into a run: `CHAOS_DEBUG=cgrp,fetch,topic,metadata`."""


def value_of(name: str, partition: int, number: int) -> bytes:
    """The value of a producer's record."""
    return b"%s:%d:%d:%s" % (name.encode(), partition, number, PADDING)


def parse(value: bytes) -> tuple[str, int, int]:
    """(producer, partition, number)."""
    name, partition, number, _ = value.split(b":", 3)
    return name.decode(), int(partition), int(number)


class Load(Protocol):
    """One client under load."""

    def start(self) -> None: ...

    def finish(self) -> None:
        """End: a producer waits for what is under way, a consumer leaves its group."""
        ...


class _Sender:
    """The common half of producers: when to send what."""

    def __init__(self, history: History, name: str, topic: str, partitions: int, rate: float, *, exact: bool) -> None:
        self.producing = Producing(name, topic, exact)
        history.producers.append(self.producing)
        self._partitions = partitions
        self._rate = rate
        self._ending = threading.Event()
        self._under_way = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        self._ending.set()
        self._thread.join(120)
        if self._thread.is_alive():
            self.producing.failures.append("it did not end within 120 s")

    def _run(self) -> None:
        total, began = 0, time.monotonic()
        while not self._ending.is_set():
            due = int((time.monotonic() - began) * self._rate)
            count = min(due - total, BACKLOG - self._under_way)
            for n in range(total, total + max(count, 0)):
                partition = n % self._partitions
                number = self.producing.sent[partition]
                self.producing.sent[partition] += 1
                self._under_way += 1
                self.send(partition, value_of(self.producing.name, partition, number))
            if count <= 0:
                began = time.monotonic() - total / self._rate  # an outage is not made up for
            total += max(count, 0)
            self.turn()
        self.flush()

    def acknowledged(self, partition: int, offset: int, value: bytes) -> None:
        self._under_way -= 1
        self.producing.acks.append(Ack((self.producing.topic, partition, offset), value, time.monotonic()))

    def failed(self, error: object) -> None:
        self._under_way -= 1
        self.producing.failures.append(str(error))

    def send(self, partition: int, value: bytes) -> None:
        raise AssertionError

    def turn(self) -> None:
        time.sleep(TURN_S)

    def flush(self) -> None:
        raise AssertionError


class ConfluentProducer(_Sender):
    """librdkafka."""

    def __init__(self, history: History, servers: str, *args: Any, exact: bool) -> None:
        super().__init__(history, *args, exact=exact)
        acks = {"enable.idempotence": True, "acks": "all"} if exact else {"acks": 1}
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "linger.ms": 3,
                "message.timeout.ms": GIVE_UP_MS,
                "request.timeout.ms": 2000,
                "retry.backoff.ms": 30,
                "retry.backoff.max.ms": 200,
                **QUICK,
                **acks,
            }
        )

    def send(self, partition: int, value: bytes) -> None:
        self._producer.produce(self.producing.topic, value, partition=partition, on_delivery=self._delivered)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            offset = message.offset()  # none where a retry was found to be a duplicate
            self.acknowledged(message.partition(), -1 if offset is None else offset, message.value())
        else:
            self.failed(error)

    def turn(self) -> None:
        self._producer.poll(TURN_S)

    def flush(self) -> None:
        left = self._producer.flush(90)
        if left:
            self.producing.failures.append(f"{left} records were not acknowledged within 90 s")


class KafkaPythonProducer(_Sender):
    """kafka-python."""

    def __init__(self, history: History, servers: str, *args: Any, exact: bool) -> None:
        super().__init__(history, *args, exact=exact)
        self._lock = threading.Lock()
        self._producer: Any = PythonProducer(
            bootstrap_servers=servers,
            acks="all" if exact else 1,
            enable_idempotence=exact,
            linger_ms=3,
            request_timeout_ms=3000,
            delivery_timeout_ms=GIVE_UP_MS,
            max_block_ms=GIVE_UP_MS,
            retry_backoff_ms=30,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            metadata_max_age_ms=2000,
        )

    def send(self, partition: int, value: bytes) -> None:
        sending = self._producer.send(self.producing.topic, value, partition=partition)
        sending.add_callback(lambda placed: self._placed(placed.partition, placed.offset, value))
        sending.add_errback(self._refused)

    def _placed(self, partition: int, offset: int, value: bytes) -> None:
        with self._lock:
            self.acknowledged(partition, offset, value)

    def _refused(self, error: object) -> None:
        with self._lock:
            self.failed(repr(error))

    def flush(self) -> None:
        try:
            self._producer.flush(90)
        except KafkaError as error:
            self.producing.failures.append(f"flush: {error!r}")
        self._producer.close(5)


class ConfluentMember:
    """A member of a group that commits what it has seen."""

    def __init__(self, servers: str, consuming: Consuming, topics: list[str]) -> None:
        self._consuming = consuming
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": consuming.name,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
                "fetch.queue.backoff.ms": 10,
                **QUICK,
                **DEBUG,
            },
            logger=LOGGER,
        )
        self._consumer.subscribe(topics)
        self._thread = threading.Thread(target=self._run, name=consuming.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        saw = self._consuming.saw
        while not self._ending.is_set():
            messages = self._consumer.consume(2000, timeout=0.2)
            for message in messages:
                if message.error() is None:
                    saw(message.topic(), message.partition(), message.offset(), message.value())
            if messages:
                try:
                    self._consumer.commit(asynchronous=True)
                except KafkaException:
                    continue  # there is no coordinator at the moment: the next commit says more
        self._consumer.close()

    def finish(self) -> None:
        self._ending.set()
        self._thread.join(60)


class KafkaPythonMember:
    """The same by kafka-python."""

    def __init__(self, servers: str, consuming: Consuming, topics: list[str]) -> None:
        self._consuming = consuming
        self._ending = threading.Event()
        self._consumer: Any = PythonConsumer(
            *topics,
            bootstrap_servers=servers,
            group_id=consuming.name,
            enable_auto_commit=True,
            auto_commit_interval_ms=500,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            request_timeout_ms=7000,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            retry_backoff_ms=30,
            metadata_max_age_ms=2000,
            max_poll_records=2000,
        )
        self._thread = threading.Thread(target=self._run, name=consuming.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        saw = self._consuming.saw
        while not self._ending.is_set():
            try:
                fetched = self._consumer.poll(200)
            except KafkaError as error:
                if not error.retriable:
                    self._consuming.contradictions.append(f"{self._consuming.name}: {error!r}")
                    return
                continue
            for place, records in fetched.items():
                for record in records:
                    saw(place.topic, place.partition, record.offset, record.value)
        self._consumer.close()

    def finish(self) -> None:
        self._ending.set()
        self._thread.join(60)
