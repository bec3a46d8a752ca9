"""Chance: UUIDs that Kafka accepts, bounds that hold, seeds that repeat."""

from __future__ import annotations

import base64

import pytest

from blumfeld.env.entropy import Entropy, SeededEntropy, SystemEntropy, uuid_of


@pytest.fixture(params=["system", "seeded"])
def entropy(request: pytest.FixtureRequest) -> Entropy:
    return SystemEntropy() if request.param == "system" else SeededEntropy(7)


def test_uuids_are_of_version_4_and_distinct_and_never_begin_with_a_dash(entropy: Entropy) -> None:
    uuids = {entropy.uuid() for _ in range(500)}
    assert len(uuids) == 500
    for uuid in uuids:
        assert (len(uuid), uuid[6] >> 4, uuid[8] >> 6) == (16, 4, 2)
        assert not base64.urlsafe_b64encode(uuid).startswith(b"-")


def test_bits_that_would_begin_with_a_dash_are_refused() -> None:
    assert uuid_of(bytes([62 << 2]) + bytes(15)) is None
    assert uuid_of(bytes(16)) == bytes([0] * 6 + [0x40, 0, 0x80] + [0] * 7)


def test_numbers_stay_within_their_bounds(entropy: Entropy) -> None:
    assert {entropy.randrange(3) for _ in range(200)} == {0, 1, 2}
    assert entropy.randrange(1) == 0
    assert all(0 <= entropy.random() < 1 for _ in range(100))
    assert entropy.randrange(1 << 70) < 1 << 70
    with pytest.raises(ValueError):
        entropy.randrange(0)


def test_choosing_and_shuffling_keep_the_items(entropy: Entropy) -> None:
    items = list(range(50))
    entropy.shuffle(items)
    assert sorted(items) == list(range(50))
    assert items != list(range(50))
    assert entropy.choice("abc") in "abc"
    assert len(entropy.token(24)) == 24


def test_the_same_seed_makes_the_same_choices() -> None:
    first, second, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    story = [(e.uuid(), e.random(), e.randrange(1000), e.token(4)) for e in (first, second, other)]
    assert story[0] == story[1] != story[2]
