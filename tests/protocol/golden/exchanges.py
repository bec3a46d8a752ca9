"""Golden frames as files: a request and its response for each API and version that a client uses.

`tests/interop/record_golden.py` makes the files. Frames are kept without their size prefixes.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from blumfeld.protocol.frame import decode_request_header
from blumfeld.protocol.keys import ApiKey

FOLDER = Path(__file__).parent


class Exchange(NamedTuple):
    """One request and its response."""

    key: ApiKey
    version: int
    request: bytes
    response: bytes

    @property
    def client_id(self) -> str:
        return decode_request_header(self.request)[0].client_id or ""

    @property
    def size(self) -> int:
        return len(self.request) + len(self.response)


def clients() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.json"))


@cache
def golden(client: str) -> tuple[Exchange, ...]:
    """All exchanges recorded of a client."""
    recorded = json.loads((FOLDER / f"{client}.json").read_text())
    return tuple(
        Exchange(ApiKey[one["api"]], one["version"], bytes.fromhex(one["request"]), bytes.fromhex(one["response"]))
        for one in recorded["exchanges"]
    )


def write(client: str, release: str, broker: str, exchanges: list[Exchange]) -> None:
    """A line for each exchange, so that a new recording can be compared."""
    lines = (
        json.dumps(
            {
                "api": exchange.key.name,
                "version": exchange.version,
                "request": exchange.request.hex(),
                "response": exchange.response.hex(),
            }
        )
        for exchange in exchanges
    )
    head = f'{{"client": {json.dumps(release)}, "broker": {json.dumps(broker)}, "exchanges": [\n'
    (FOLDER / f"{client}.json").write_text(head + ",\n".join(lines) + "\n]}\n")
