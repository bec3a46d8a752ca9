"""Every foreign client that the stories are told through."""

from __future__ import annotations

from tests.interop.clients.aio import Aio
from tests.interop.clients.confluent import Confluent
from tests.interop.clients.face import Client
from tests.interop.clients.kafka_python import KafkaPython

CLIENTS: tuple[type[Client], ...] = (KafkaPython, Confluent, Aio)
