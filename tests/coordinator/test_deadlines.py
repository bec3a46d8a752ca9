"""Deadlines: order, replacement, bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blumfeld.coordinator.deadlines import DeadlineQueue


def popped(queue: DeadlineQueue, now: int) -> list[object]:
    found = []
    while (key := queue.pop(now)) is not None:
        found.append(key)
    return found


def test_keys_come_when_they_are_due_and_once() -> None:
    queue = DeadlineQueue()
    queue.schedule("b", 20)
    queue.schedule("a", 10)
    assert (queue.next_due(), len(queue)) == (10, 2)
    assert popped(queue, 9) == []
    assert popped(queue, 20) == ["a", "b"]
    assert popped(queue, 99) == []
    assert queue.next_due() is None


def test_a_deadline_moves_later_and_earlier() -> None:
    queue = DeadlineQueue()
    queue.schedule("a", 10)
    queue.schedule("a", 30)
    assert popped(queue, 29) == []
    queue.schedule("a", 35)
    queue.schedule("a", 32)
    assert popped(queue, 31) == []
    assert popped(queue, 32) == ["a"]
    assert popped(queue, 99) == []


def test_a_cancelled_deadline_never_comes() -> None:
    queue = DeadlineQueue()
    queue.schedule("a", 10)
    queue.cancel("a")
    queue.cancel("never")
    assert "a" not in queue
    assert popped(queue, 99) == []
    queue.schedule("a", 20)
    assert popped(queue, 19) == []
    assert popped(queue, 20) == ["a"]


def test_heartbeats_cost_no_memory() -> None:
    queue = DeadlineQueue()
    for beat in range(10_000):
        queue.schedule("member", 45_000 + beat * 3_000)
    assert len(queue._heap) == 1


def test_members_that_come_and_go_cost_no_memory() -> None:
    queue = DeadlineQueue()
    for n in range(10_000):
        queue.schedule(n, 1_800_000 + n)
        queue.cancel(n)
    for _ in range(10_000):
        for due in (5, 3):
            queue.schedule("a", due)
    assert len(queue._heap) < 200


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["schedule", "cancel", "pop"]), st.integers(0, 5), st.integers(0, 50))))
def test_it_is_a_dictionary_of_deadlines(actions: list[tuple[str, int, int]]) -> None:
    queue, model = DeadlineQueue(), dict[int, int]()
    for action, key, time in actions:
        if action == "schedule":
            queue.schedule(key, time)
            model[key] = time
        elif action == "cancel":
            queue.cancel(key)
            model.pop(key, None)
        else:
            due = {k for k, t in model.items() if t <= time}
            assert set(popped(queue, time)) == due
            for k in due:
                del model[k]
        assert len(queue) == len(model)
        next_due = queue.next_due()
        assert (next_due is None) == (not model)
        assert next_due is None or next_due <= min(model.values())
