"""The error table, against kio's, which is generated from Apache Kafka's."""

from __future__ import annotations

import pickle

import kio.schema.errors as kio
import pytest

from blumfeld.protocol.errors import ErrorCode


def test_the_table_is_complete() -> None:
    assert [int(code) for code in ErrorCode] == list(range(-1, 134))


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_every_error_says_what_it_means(code: ErrorCode) -> None:
    assert code.text.endswith(".") == (code is not ErrorCode.NONE)
    assert len(code.text) <= 100
    assert isinstance(code.retriable, bool)


def test_texts_differ() -> None:
    assert len({code.text for code in ErrorCode}) == len(ErrorCode)


def test_a_code_is_the_number_that_the_wire_wants() -> None:
    assert ErrorCode(3) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) == 3
    assert pickle.loads(pickle.dumps(ErrorCode.NONE)) is ErrorCode.NONE


def test_success_and_fatal_errors_are_not_retriable_and_leadership_is() -> None:
    assert not ErrorCode.NONE.retriable
    assert not ErrorCode.TOPIC_AUTHORIZATION_FAILED.retriable
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER.retriable
    assert ErrorCode.COORDINATOR_LOAD_IN_PROGRESS.retriable


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_names_and_retriability_are_those_of_another_implementation(code: ErrorCode) -> None:
    other = kio.ErrorCode(code)
    assert other.name.upper() == code.name
    assert other.retriable == code.retriable
