"""What clients and Apache Kafka really sent is read, and written again it is the same bytes."""

from __future__ import annotations

import pytest

from blumfeld.protocol.frame import (
    decode_request_header,
    decode_response,
    encode_request,
    encode_response,
)
from blumfeld.protocol.keys import request_class
from tests.protocol.golden.exchanges import Exchange, clients, golden

EXCHANGES = [
    pytest.param(exchange, id=f"{client}-{exchange.key.title}-v{exchange.version}")
    for client in clients()
    for exchange in golden(client)
]

LEAST_APIS = {"aiokafka": 25, "apache-kafka": 3, "confluent-kafka": 36, "kafka-python": 47}
"""How many APIs a recording has to show: the client's own calls, and those that the calls are made of."""


FOLLOWED_BY = {
    "confluent-kafka-Metadata-v13": 3,
    "confluent-kafka-AlterUserScramCredentials-v0": 1,
}
"""How many bytes follow the last field of a request, where any do. librdkafka sends them; Kafka ignores them."""


def whole_frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_request_is_read_and_written_again_the_same(exchange: Exchange, request: pytest.FixtureRequest) -> None:
    header, body = decode_request_header(exchange.request)
    assert (header.request_api_key, header.request_api_version) == (exchange.key, exchange.version)
    message = request_class(exchange.key).decode(body, exchange.version)
    written = encode_request(exchange.key, exchange.version, header.correlation_id, header.client_id, message)
    extra = FOLLOWED_BY.get(request.node.callspec.id, 0)
    assert b"".join(written) == whole_frame(exchange.request[: len(exchange.request) - extra])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_response_is_read_and_written_again_the_same(exchange: Exchange) -> None:
    correlation_id, response = decode_response(exchange.response, exchange.key, exchange.version)
    written = encode_response(correlation_id, exchange.version, response)
    assert b"".join(written) == whole_frame(exchange.response)


@pytest.mark.parametrize("client", LEAST_APIS)
def test_the_recording_shows_the_apis_that_the_client_uses(client: str) -> None:
    assert len({exchange.key for exchange in golden(client)}) >= LEAST_APIS[client]
