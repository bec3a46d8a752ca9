"""Envelopes: a client's request through a broker to the controller and back."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.envelope import Enclosed, open_envelope, seal
from blumfeld.cluster.controller.table import SERVED, Answers, decider
from blumfeld.cluster.envelope import unwrap, wrap
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey, request_class
from blumfeld.protocol.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from blumfeld.protocol.messages.header import RequestHeader
from tests.cluster.controller.story import new_topic

REQUEST = CreateTopicsRequest(topics=[new_topic("orders", 1, 1)])


def header(version: int) -> RequestHeader:
    return RequestHeader(
        request_api_key=ApiKey.CREATE_TOPICS, request_api_version=version, correlation_id=77, client_id="me"
    )


@pytest.mark.parametrize("version", range(2, 8))
def test_what_a_broker_wraps_the_controller_opens(version: int) -> None:
    envelope = wrap(REQUEST, header(version), client_host="10.1.2.3", principal="alice")
    enclosed = open_envelope(envelope)
    assert isinstance(enclosed, Enclosed)
    assert enclosed.request == REQUEST
    assert (enclosed.header.correlation_id, enclosed.header.request_api_version) == (77, version)
    assert enclosed.context == ControllerContext(
        version, principal="alice", client_host="10.1.2.3", client_id="me", forwarded=True
    )
    response = CreateTopicsResponse(topics=[])
    assert unwrap(seal(enclosed, response), ApiKey.CREATE_TOPICS, version) == response


def test_addresses_of_both_kinds_and_nobody_by_name() -> None:
    envelope = wrap(REQUEST, header(7), client_host="::1", principal="alice")
    envelope.request_principal = None
    enclosed = open_envelope(envelope)
    assert isinstance(enclosed, Enclosed)
    assert (enclosed.context.client_host, enclosed.context.principal) == ("::1", "ANONYMOUS")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"request_data": b""}, ErrorCode.INVALID_REQUEST),
        ({"request_data": b"\x00\x13\x00\x07\x00\x00\x00\x01\xff\xff\x00"}, ErrorCode.INVALID_REQUEST),
        ({"request_data": b"\x7f\x13\x00\x07\x00\x00\x00\x01\xff\xff\x00"}, ErrorCode.INVALID_REQUEST),
        ({"request_principal": b"\x00\x00\x05"}, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        ({"request_principal": b"\x00\x09\x05"}, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE),
        ({"client_host_address": b"\x01\x02"}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_opened(changes: dict[str, Any], code: ErrorCode) -> None:
    envelope = wrap(REQUEST, header(7), client_host="127.0.0.1", principal="alice")
    for name, value in changes.items():
        setattr(envelope, name, value)
    assert open_envelope(envelope) is code


def test_every_row_of_the_table_has_its_messages_and_its_decider() -> None:
    keys = list(SERVED)
    assert keys == sorted(keys)
    for key, row in SERVED.items():
        low, high = request_class(key).VERSIONS
        assert low <= row.first_version <= row.last_version <= high
        assert (decider(key) is not None) == (row.answers is Answers.DECIDER)
