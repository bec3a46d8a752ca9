"""Mutated frames of every API and version against a broker process. `make fuzz` sends more of them."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from blumfeld.broker.controller_apis import controller_table
from blumfeld.broker.table import SERVED
from blumfeld.protocol.errors import ProtocolError
from blumfeld.protocol.frame import decode_request_header
from blumfeld.protocol.keys import ApiKey, request_class
from tests.sim.fuzz.mutate import Mutant, Mutator
from tests.sim.fuzz.plausible import Plausible
from tests.sim.fuzz.run import CASES, cases, framed, fuzz, fuzz_controller

FRAMES = 5_000
CONTROLLER_FRAMES = 1_000
SEED = 1


def test_after_each_of_many_mutants_a_good_request_is_answered(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read from /proc")
    tally = fuzz(FRAMES, SEED, tmp_path / "data")
    assert tally.sent == FRAMES
    assert tally.reached * 2 >= FRAMES
    assert len(tally.ways) == 12


def test_a_controller_bears_them_too_and_its_cluster_goes_on() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read from /proc")
    tally = fuzz_controller(CONTROLLER_FRAMES, SEED)
    assert tally.reached * 2 >= tally.sent == CONTROLLER_FRAMES


@pytest.mark.parametrize("served", [CASES, cases(controller_table())], ids=["broker", "controller"])
def test_what_is_plausible_can_be_decoded(served: list[tuple[ApiKey, int]]) -> None:
    plausible = Plausible(random.Random(SEED), [bytes(16)])
    for key, version in served * 3:
        frame = framed(plausible.request(request_class(key), version), version, 1)
        header, body = decode_request_header(frame[4:])
        assert (header.request_api_key, header.request_api_version) == (key, version)
        request_class(key).decode(body, version)


def test_the_fuzzer_knows_what_reaches_a_decoder() -> None:
    """Against the decoders themselves: nothing is counted that the broker would refuse by its header."""
    chance = random.Random(SEED)
    plausible, mutator = Plausible(chance, [bytes(16)]), Mutator(chance)
    for key, version in CASES * 2:
        frame = framed(plausible.request(request_class(key), version), version, 1)[4:]
        mutant = mutator.mutate(frame, len(frame) - len(decode_request_header(frame)[1]))
        assert mutant.reaches_decoder(SERVED) == (mutant.framed and reaches(mutant))


def reaches(mutant: Mutant) -> bool:
    if len(mutant.frame) < 8:
        return False
    key, version = struct.unpack_from(">hh", mutant.frame)
    if (key, version) not in CASES:
        return False
    try:
        decode_request_header(mutant.frame)
    except ProtocolError:
        return False
    return True
