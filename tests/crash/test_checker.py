"""The checker of chaos runs finds what it looks for: every kind of violation, planted into a run that was fine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from blumfeld.protocol.batch import iterate_batches
from blumfeld.protocol.records import Record, build_batch
from tests.crash.checker import check
from tests.crash.history import Ack, Consuming, Fault, History, Producing
from tests.crash.workload import value_of

NODES = 3
COUNT = 20


class Run:
    """A run of two producers with one partition each, in which all went well; tests spoil it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.exact = [value_of("exact-producer", 0, n) for n in range(COUNT)]
        self.loose = [value_of("loose-producer", 0, n) for n in range(COUNT)]
        self.history = History()
        self.group = Consuming("group")
        self.history.groups.append(self.group)
        self.history.faults.append(Fault("kill", "broker 1", 100.0, 101.0))
        for name, topic, values in (("exact-producer", "exact", self.exact), ("loose-producer", "loose", self.loose)):
            producing = Producing(name, topic, topic == "exact", sent=Counter({0: COUNT}))
            producing.acks = [Ack((topic, 0, n), value, 50.0 + n) for n, value in enumerate(values)]
            self.history.producers.append(producing)
            for n, value in enumerate(values):
                self.group.saw(topic, 0, n, value)
            for node in range(NODES):
                self.write(node, topic, values)

    def write(self, node: int, topic: str, values: list[bytes]) -> None:
        directory = self.home / str(node) / f"{topic}-0"
        directory.mkdir(parents=True, exist_ok=True)
        data = b"".join(
            build_batch([Record(n, 0, None, value)], base_offset=n, leader_epoch=1) for n, value in enumerate(values)
        )
        (directory / f"{0:020}.log").write_bytes(data)

    def write_everywhere(self, topic: str, values: list[bytes]) -> None:
        for node in range(NODES):
            self.write(node, topic, values)

    def violations(self) -> list[str]:
        directories = [self.home / str(node) for node in range(NODES)]
        return check(self.history, directories, {"exact": 1, "loose": 1}).violations


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_run_in_which_all_went_well(run: Run) -> None:
    assert run.violations() == []


def lose_one(run: Run) -> None:
    run.write_everywhere("exact", run.exact[:5] + run.exact[6:])


def double_one(run: Run) -> None:
    run.write_everywhere("exact", [*run.exact[:6], run.exact[5], *run.exact[6:]])


def swap_two(run: Run) -> None:
    run.write_everywhere("exact", [*run.exact[:5], run.exact[6], run.exact[5], *run.exact[7:]])


def differ(run: Run) -> None:
    run.write(2, "exact", [*run.exact[:-1], value_of("exact-producer", 0, 0)])


def lag(run: Run) -> None:
    run.write(2, "exact", run.exact[:-1])


def invent(run: Run) -> None:
    run.write_everywhere("loose", [*run.loose, value_of("nobody", 0, 0)])


def lose_without_a_fault(run: Run) -> None:
    run.write_everywhere("loose", run.loose[:-1])


def lose_after_a_kill(run: Run) -> None:
    run.write_everywhere("loose", run.loose[:-1])
    del run.group.seen["loose", 0, COUNT - 1]
    lost = run.history.producers[1].acks[-1]
    run.history.producers[1].acks[-1] = lost._replace(time=104.0)


def fork_metadata(run: Run) -> None:
    values = [b"%d" % n for n in range(6)]
    for node in range(NODES):
        run.write(node, "__cluster_metadata", values)
    run.write(2, "__cluster_metadata", [*values[:3], b"another", *values[4:]])


def skip_a_commit(run: Run) -> None:
    values = [b"%d" % n for n in range(6)]
    for node in range(NODES):
        run.write(node, "__consumer_offsets", values)
    path = run.home / "1" / "__consumer_offsets-0" / f"{0:020}.log"
    batches = [bytes(batch.view) for batch in iterate_batches(path.read_bytes())]
    path.write_bytes(b"".join(batches[:2] + batches[3:]))


def end_by_itself(run: Run) -> None:
    run.history.broken += ["broker 1 ended with 1"] * 3


def miss(run: Run) -> None:
    del run.group.seen["exact", 0, 3]


def see_what_is_not_there(run: Run) -> None:
    run.group.seen["exact", 0, COUNT] = value_of("exact-producer", 0, COUNT)


def see_two_things(run: Run) -> None:
    run.group.saw("exact", 0, 3, b"something else")


def fail(run: Run) -> None:
    run.history.producers[0].failures.append("fatal")


PLANTED: dict[Callable[[Run], None], str] = {
    lose_one: "1 of 20 records are lost",
    double_one: "1 records are doubled",
    swap_two: "out of order",
    differ: "replicas differ",
    lag: "replicas differ",
    invent: "nobody sent",
    lose_without_a_fault: "though there was no fault",
    lose_after_a_kill: "though there was no fault",
    fork_metadata: "__cluster_metadata-0: replicas 1 and 3 share (5, 1) and differ at [(3, 1)]",
    skip_a_commit: "__consumer_offsets-0: replicas 1 and 2 share (5, 1) and differ at [(2, 1)]",
    end_by_itself: "broker 1 ended with 1 (3 times)",
    miss: "never seen",
    see_what_is_not_there: "not in the log",
    see_two_things: "and then",
    fail: "fatal",
}


@pytest.mark.parametrize("spoil", PLANTED, ids=lambda spoil: spoil.__name__)
def test_what_is_wrong_is_found(run: Run, spoil: Callable[[Run], None]) -> None:
    spoil(run)
    assert any(PLANTED[spoil] in violation for violation in run.violations()), run.violations()


def test_the_ends_of_internal_logs_may_differ(run: Run) -> None:
    values = [b"%d" % n for n in range(6)]
    for node in range(NODES):
        run.write(node, "__cluster_metadata", values[: 4 + node])
    assert run.violations() == []


def test_what_a_leader_took_after_a_pause_may_be_lost(run: Run) -> None:
    run.history.faults[0] = run.history.faults[0]._replace(kind="pause")
    run.write_everywhere("loose", run.loose[:-1])
    del run.group.seen["loose", 0, COUNT - 1]
    lost = run.history.producers[1].acks[-1]
    run.history.producers[1].acks[-1] = lost._replace(time=104.0)
    assert run.violations() == []


def test_a_tail_acknowledged_with_acks_1_may_be_lost_in_a_fault(run: Run) -> None:
    run.write_everywhere("loose", run.loose[:-1])
    del run.group.seen["loose", 0, COUNT - 1]
    lost = run.history.producers[1].acks[-1]
    run.history.producers[1].acks[-1] = lost._replace(time=99.5)
    assert run.violations() == []
