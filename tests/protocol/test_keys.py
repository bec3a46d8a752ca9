"""The table of contents: numbers, names, and where the declarations are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blumfeld.protocol.keys import DEAD_KEYS, ApiKey, request_class, response_class
from blumfeld.protocol.schema import Request, Response

DECLARED = [key for key in ApiKey if key not in DEAD_KEYS and (key < 76 or 80 <= key <= 82 or key == 94)]


def test_the_numbers_have_no_gaps() -> None:
    assert [int(key) for key in ApiKey] == list(range(95))


@pytest.mark.parametrize(
    ("key", "title"),
    [
        (ApiKey.PRODUCE, "Produce"),
        (ApiKey.OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch"),
        (ApiKey.ALTER_USER_SCRAM_CREDENTIALS, "AlterUserScramCredentials"),
    ],
)
def test_names_follow_kafkas(key: ApiKey, title: str) -> None:
    assert key.title == title


@pytest.mark.parametrize("key", DECLARED, ids=lambda key: key.name)
def test_request_and_response_are_found_and_know_each_other(key: ApiKey) -> None:
    request, response = request_class(key), response_class(key)
    assert issubclass(request, Request)
    assert issubclass(response, Response)
    assert request.KEY is response.KEY is key
    assert request.RESPONSE is response
    assert request.VERSIONS == response.VERSIONS


@pytest.mark.parametrize("key", sorted(DEAD_KEYS))
def test_dead_keys_have_no_messages(key: ApiKey) -> None:
    with pytest.raises(LookupError):
        request_class(key)
    with pytest.raises(LookupError):
        response_class(key)


def test_a_message_module_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; from blumfeld.protocol.keys import ApiKey, request_class\n"
        "name = 'blumfeld.protocol.messages.fetch'; before = name in sys.modules\n"
        "request_class(ApiKey.FETCH); print(before, name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
