"""The purgatory: answered once, by an attempt or by the deadline; one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from blumfeld.cluster.waiting import EXPIRED, Purgatory
from blumfeld.env.clock import ManualClock, SystemClock


class Tries:
    """An attempt that remembers what it was called with."""

    def __init__(self, *, succeed_with: str | None = None) -> None:
        self.keys: list[Hashable] = []
        self.succeed_with = succeed_with

    def __call__(self, key: Hashable) -> str | None:
        self.keys.append(key)
        if key is EXPIRED:
            return "expired"
        return self.succeed_with


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def purgatory(clock: ManualClock) -> Purgatory:
    return Purgatory(clock)


async def test_an_attempt_that_succeeds_answers(purgatory: Purgatory) -> None:
    tries = Tries()
    future = purgatory.wait(["a", "b"], 1000, tries)
    purgatory.check("c")
    purgatory.check("a")
    assert not future.done()
    tries.succeed_with = "yes"
    purgatory.check("b")
    assert await future == "yes"
    assert tries.keys == ["a", "b"]
    purgatory.check("a")
    assert tries.keys == ["a", "b"], "it is under no key any more"
    assert len(purgatory) == 0


async def test_the_deadline_answers_with_what_there_is(purgatory: Purgatory, clock: ManualClock) -> None:
    future = purgatory.wait(["a"], 100, Tries())
    clock.advance(ms=99)
    purgatory.expire()
    assert not future.done()
    clock.advance(ms=1)
    purgatory.expire()
    assert await future == "expired"


async def test_deadlines_are_kept_in_their_own_order(purgatory: Purgatory, clock: ManualClock) -> None:
    late = purgatory.wait(["a"], 500, Tries())
    early = purgatory.wait(["a"], 100, Tries())
    clock.advance(ms=200)
    purgatory.expire()
    assert early.done()
    assert not late.done()


async def test_by_the_real_clock_too() -> None:
    purgatory = Purgatory(SystemClock())
    late = purgatory.wait(["a"], 10_000, Tries())
    assert await asyncio.wait_for(purgatory.wait(["a"], 20, Tries()), 2) == "expired"
    assert not late.done()
    purgatory.close()
    assert late.cancelled()


async def test_an_attempt_that_raises_fails_its_own_request_alone(purgatory: Purgatory, clock: ManualClock) -> None:
    def fail(key: Hashable) -> str | None:
        raise LookupError(str(key))

    first, second = purgatory.wait(["a"], 1000, fail), purgatory.wait(["a"], 1000, Tries(succeed_with="yes"))
    purgatory.check("a")
    with pytest.raises(LookupError, match="a"):
        await first
    assert await second == "yes"
    first, second = purgatory.wait(["a"], 1000, fail), purgatory.wait(["a"], 1000, Tries())
    clock.advance(1)
    purgatory.expire()
    with pytest.raises(LookupError, match="EXPIRED"):
        await first
    assert await second == "expired"
    assert len(purgatory) == 0


async def test_a_cancelled_waiter_is_forgotten(purgatory: Purgatory, clock: ManualClock) -> None:
    tries = Tries()
    future = purgatory.wait(["a"], 100, tries)
    future.cancel()
    await asyncio.sleep(0)
    assert len(purgatory) == 0
    purgatory.check("a")
    clock.advance(1)
    purgatory.expire()
    assert tries.keys == []


async def test_a_waiter_cancelled_and_checked_in_the_same_turn(purgatory: Purgatory) -> None:
    future = purgatory.wait(["a"], 100, Tries(succeed_with="yes"))
    future.cancel()
    purgatory.check("a")
    await asyncio.sleep(0)
    assert future.cancelled()
    assert len(purgatory) == 0


async def test_an_attempt_may_wake_others(purgatory: Purgatory) -> None:
    second = purgatory.wait(["b"], 100, Tries(succeed_with="second"))

    def wake(key: Hashable) -> str | None:
        purgatory.check("b")
        return "first"

    first = purgatory.wait(["a"], 100, wake)
    purgatory.check("a")
    assert (await first, await second) == ("first", "second")


async def test_an_attempt_may_answer_its_neighbours_by_the_same_key(purgatory: Purgatory) -> None:
    answered: list[asyncio.Future[str]] = []

    def once(key: Hashable) -> str | None:
        if not answered:
            answered.append(first)
            purgatory.check("a")
        return "yes"

    first = purgatory.wait(["a"], 100, once)
    second = purgatory.wait(["a"], 100, Tries(succeed_with="also"))
    purgatory.check("a")
    assert await second == "also"
    assert await first == "yes"
    assert len(purgatory) == 0


async def test_answered_waiters_do_not_pile_up_until_their_deadlines(purgatory: Purgatory) -> None:
    lasting = purgatory.wait(["other"], 30_000, Tries())
    for _ in range(10_000):
        purgatory.wait(["a"], 30_000, Tries(succeed_with="yes"))
        purgatory.check("a")
    assert len(purgatory._deadlines) < 100
    assert len(purgatory) == 1
    lasting.cancel()


async def test_one_timer_for_all_and_none_for_nobody(purgatory: Purgatory, clock: ManualClock) -> None:
    assert purgatory._timer is None
    purgatory.wait(["a"], 500, Tries())
    timers: list[asyncio.TimerHandle | None] = []
    for timeout_ms in (500, 600, 100):
        purgatory.wait(["a"], timeout_ms, Tries())
        timers.append(purgatory._timer)
    assert timers[0] is timers[1]
    assert timers[1] is not timers[2]
    clock.advance(1)
    purgatory.expire()
    timers.append(purgatory._timer)
    assert timers[3] is None
