"""Records golden frames: what real clients and Apache Kafka say to each other, one exchange of each API and version.

    python -m tests.interop.record_golden [CLIENT…]

Needs Java. Each client is led through its calls, against a fresh broker behind a recording proxy, and its file in
tests/protocol/golden is written anew. Steps that fail are told; their frames count all the same. When all clients are
asked, so is the file of what the brokers left in their internal logs.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from blumfeld.protocol.frame import decode_request_header
from blumfeld.protocol.keys import ApiKey
from tests.interop.clients.aio import Aio
from tests.interop.clients.confluent import Confluent
from tests.interop.clients.face import Client
from tests.interop.clients.kafka_python import KafkaPython
from tests.interop.golden import aiokafka_calls, confluent_calls, kafka_python_calls
from tests.interop.golden.common import Step, common_steps, last_steps
from tests.interop.golden.logs import harvest
from tests.interop.java import kafka_jars
from tests.interop.kafka import ApacheKafka
from tests.interop.proxy import Connection, RecordingProxy
from tests.protocol.golden import logged
from tests.protocol.golden.exchanges import Exchange, write
from tests.protocol.golden.logged import Logged

CLIENTS: dict[str, tuple[type[Client], Callable[[str], Iterator[Step]]]] = {
    "kafka-python": (KafkaPython, kafka_python_calls.steps),
    "confluent-kafka": (Confluent, confluent_calls.steps),
    "aiokafka": (Aio, aiokafka_calls.steps),
}

CLIENT_IDS = {"kafka-python": "kafka-python", "confluent-kafka": "rdkafka", "aiokafka": "aiokafka"}
"""How their client ids begin. The broker comes through the proxy too: it writes transaction markers to itself."""

KAFKA = "apache-kafka"

BROKER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "auto.create.topics.enable": "false",
}

WANTED_BYTES = 1_200
"""Of a request and its response: the largest pair below is kept, for it says most; else the smallest."""


def main(names: list[str]) -> None:
    jars = kafka_jars()
    release = next(found[1] for jar in jars if (found := re.search(r"kafka-clients-([\d.]+)\.jar", jar)))
    of_the_broker: list[Exchange] = []
    in_logs: list[Logged] = []
    for name in names or CLIENTS:
        with tempfile.TemporaryDirectory() as directory, RecordingProxy() as proxy:
            kafka = ApacheKafka(Path(directory) / "kafka", jars, advertised_port=proxy.port, properties=BROKER)
            with kafka:
                proxy.forward_to("127.0.0.1", kafka.port)
                lead(name, f"127.0.0.1:{proxy.port}")
            in_logs += harvest(kafka.data)
            recorded = [exchange for connection in proxy.connections for exchange in exchanges(connection)]
        own = [exchange for exchange in recorded if exchange.client_id.startswith(CLIENT_IDS[name])]
        of_the_broker += [exchange for exchange in recorded if exchange not in own]
        keep(name, f"{name} {version(name)}", release, own)
    if not names:
        keep(KAFKA, f"Apache Kafka {release}", release, of_the_broker)
        logged.write(logged.choose(in_logs))


def keep(name: str, client: str, release: str, recorded: list[Exchange]) -> None:
    """Write the best exchanges into the client's file."""
    chosen = choose(recorded)
    write(name, client, f"Apache Kafka {release}", chosen)
    print(f"{name}: {len(chosen)} exchanges, {len({exchange.key for exchange in chosen})} APIs")


def lead(name: str, servers: str) -> None:
    """One client through all of its steps."""
    kind, more_steps = CLIENTS[name]
    client = kind(servers)
    for steps in (common_steps(client), more_steps(servers), last_steps(client)):
        for title, act in steps:
            try:
                act()
            except Exception as error:  # a call refused is recorded like any other
                print(f"  {name}, {title}: {type(error).__name__}: {error}")


def choose(recorded: list[Exchange]) -> list[Exchange]:
    """One exchange for each API and version."""
    found: dict[tuple[ApiKey, int], list[Exchange]] = {}
    for exchange in recorded:
        found.setdefault((exchange.key, exchange.version), []).append(exchange)
    return [best(found[which]) for which in sorted(found)]


def exchanges(connection: Connection) -> Iterator[Exchange]:
    """Requests with their responses (a Produce with acks=0 has none)."""
    responses = {response[:4]: response for response in connection.responses}
    for request in connection.requests:
        header, _ = decode_request_header(request)
        response = responses.get(header.correlation_id.to_bytes(4, "big"))
        if response is not None:
            yield Exchange(ApiKey(header.request_api_key), header.request_api_version, request, response)


def best(found: list[Exchange]) -> Exchange:
    small = [exchange for exchange in found if exchange.size <= WANTED_BYTES]
    return max(small, key=lambda one: one.size) if small else min(found, key=lambda one: one.size)


if __name__ == "__main__":
    main(sys.argv[1:])
