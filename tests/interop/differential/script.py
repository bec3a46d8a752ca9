"""The script's stage: ask a broker, and write down what it answers so that two transcripts can be compared.

Owns normalization. What differs from run to run (ids that the broker draws, addresses, times, sizes of files) becomes a
word; ids that the script knows become their name; lists whose order means nothing are sorted. Everything else stays.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import ZERO_UUID, uuid_to_text
from blumfeld.protocol.schema import Request, Struct, StructMeta
from tests.raw import Closed, Raw

CLOSED = "connection closed"
SILENCE = "no answer"
ANSWER_S = 20.0
ALIKE = ("throttle_time_ms",)
"""Fields that say nothing about the answer."""
DRAWN = {
    "host": "<host>",
    "port": "<port>",
    "client_host": "<host>",
    "cluster_id": "<cluster>",
    "log_dir": "<directory>",
    "replica_directory_id": "<directory>",
    "broker_epoch": "<epoch>",
    "session_id": "<session>",
    "finalized_features_epoch": "<epoch>",
    "log_append_time_ms": "<time>",
    "last_timestamp": "<time>",
    "last_fetch_timestamp": "<time>",
    "last_caught_up_timestamp": "<time>",
    "total_bytes": "<bytes>",
    "usable_bytes": "<bytes>",
    "producer_id": "<producer>",
    "documentation": "<text>",
}
"""Fields whose value differs from run to run, unless it is one of those that mean "none"."""
NOTHING = (None, -1, 0, "")
MEMBER_FIELDS = ("member_id", "leader")
A_TIME = 1_500_000_000_000
SHORT = 20
"""Member ids up to this are the script's own; those that a broker draws have a UUID in them."""


class Script:
    """What was asked of one broker, and its answers by step."""

    def __init__(self, address: str) -> None:
        self.steps: dict[str, Any] = {}
        self._address = address
        self._raw: Raw | None = None
        self._names: dict[str, str] = {}

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def ask(self, step: str, request: Request, version: int, within_s: float = ANSWER_S) -> Any:
        """Ask, write the answer down under `step`, and return it (None where there was none)."""
        assert step not in self.steps, f"two steps are called {step!r}"
        response = self.quietly(request, version, within_s)
        self.steps[step] = response if isinstance(response, str) else self._shown(response, version)
        return None if isinstance(response, str) else response

    def quietly(self, request: Request, version: int, within_s: float = ANSWER_S) -> Any:
        """Ask without writing down. Another time than usual takes a connection of its own."""
        if within_s != ANSWER_S:
            self.close()
        if self._raw is None:
            self._raw = Raw(self._address, within_s)
        answer: Any
        try:
            answer = self._raw.ask(request, version)
        except Closed:
            answer = CLOSED
        except TimeoutError:
            answer = SILENCE
        if answer in (CLOSED, SILENCE) or within_s != ANSWER_S:
            self.close()
        return answer

    def send(self, step: str, frame: bytes) -> None:
        """Send a frame as it is (without its size), and write down the bytes that come back."""
        self.close()
        with Raw(self._address, ANSWER_S) as raw:
            raw.send(len(frame).to_bytes(4) + frame)
            try:
                self.steps[step] = raw.receive().hex()
            except Closed:
                self.steps[step] = CLOSED
            except TimeoutError:
                self.steps[step] = SILENCE

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was asked for has spread through the broker."""
        deadline = time.monotonic() + ANSWER_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    # --- names for what the broker draws -----------------------------------------------------------------------

    def name(self, value: str | bytes, name: str) -> None:
        """From now on, an id is called `name`."""
        self._names[value if isinstance(value, str) else uuid_to_text(value)] = f"<{name}>"

    def _shown(self, struct: Struct, version: int) -> dict[str, Any]:
        shown = {}
        for one in type(struct).fields:
            if version in one.versions and one.name not in ALIKE:
                shown[one.name] = self._value(one.name, getattr(struct, one.name), version)
        return shown

    def _value(self, name: str, value: Any, version: int) -> Any:
        if isinstance(value, list):
            items = [self._value(name, item, version) for item in value]
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        if isinstance(type(value), StructMeta):
            return self._shown(value, version)
        if name in DRAWN and value not in NOTHING and value != ZERO_UUID:
            return DRAWN[name]
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(name, bytes(value))
        if isinstance(value, str):
            return self._text(name, value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._number(name, value)
        return value

    def _bytes(self, name: str, value: bytes) -> str:
        if name.endswith("_id"):
            text = uuid_to_text(value)
            return "<none>" if value == ZERO_UUID else self._names.get(text, "<id>")
        return value.hex() if len(value) < 200 else f"<{len(value)} bytes>"

    def _text(self, name: str, value: str) -> str:
        if name in MEMBER_FIELDS and len(value) > SHORT and value not in self._names:
            self.name(value, f"member {1 + sum(given.startswith('<member') for given in self._names.values())}")
        for known, given in self._names.items():
            value = value.replace(known, given)
        value = re.sub(r"127\.0\.0\.1(:\d+)?|localhost:\d+", "<host>", value)
        return re.sub(r"-?\b\d{13,19}\b", "<time>", value)

    @staticmethod
    def _number(name: str, value: int) -> int | str:
        if name.endswith("error_code"):
            return ErrorCode(value).name
        return "<time>" if value > A_TIME and ("time" in name or "timestamp" in name) else value


def title(key: int) -> str:
    """An API's name, or its number."""
    try:
        return ApiKey(key).name
    except ValueError:
        return str(key)
