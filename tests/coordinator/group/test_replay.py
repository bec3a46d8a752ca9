"""The law of replay, and the invariants of groups, under random walks.

A failing walk prints its seed; `Walk(seed).run(steps)` repeats it.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from blumfeld.coordinator.group import records
from blumfeld.coordinator.group.classic import ClassicGroup
from blumfeld.coordinator.group.records import CommittedOffset
from blumfeld.coordinator.group.state import GroupState
from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import START_MS, Answered, Consumer, World, subscription

STEPS = 400
STEPS_BETWEEN_LOADS = 40
PROTOCOLS = (
    (("range", subscription("orders")),),
    (("range", subscription("orders", "users")), ("sticky", subscription("orders"))),
    (("sticky", subscription("users")), ("range", b"unreadable")),
)
FAILURES = (ErrorCode.NONE, ErrorCode.NONE, ErrorCode.NONE, ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.MESSAGE_TOO_LARGE)


class Walk:
    """Clients that do anything at any time, on a log that fails now and then."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World(
            seed=seed,
            max_size=4,
            initial_rebalance_delay_ms=self.random.choice((0, 50)),
            offsets_retention_ms=60_000,
            retention_check_interval_ms=5_000,
        )
        self.clients = [self._client(n) for n in range(6)]
        self.open: set[int] = set()

    def _client(self, n: int) -> Consumer:
        return self.world.consumer(
            f"c{n}",
            self.random.choice(("g", "g", "h")),
            instance_id=f"i{n % 2}" if n >= 4 else None,
            session_timeout_ms=self.random.choice((1_000, 3_000)),
            rebalance_timeout_ms=self.random.choice((500, 2_000)),
            protocols=self.random.choice(PROTOCOLS),
        )

    def run(self, steps: int) -> None:
        for step in range(1, steps + 1):
            self.step()
            for group in self.world.machine.groups.values():
                check(group, self.world)
            if step % STEPS_BETWEEN_LOADS == 0:
                self.compare()

    def step(self) -> None:
        random, world = self.random, self.world
        world.append_error = random.choice(FAILURES)
        client = random.choice(self.clients)
        action = random.choice(
            ("join", "join", "sync", "sync", "beat", "commit", "leave", "outside", "admin", "time", "time", "txn")
        )
        if action == "join":
            if random.random() < 0.1:
                client.join_arguments["protocols"] = random.choice(PROTOCOLS)
            if random.random() < 0.1:
                client.join_arguments["session_timeout_ms"] = random.choice((1_000, 3_000))
                client.join_arguments["rebalance_timeout_ms"] = random.choice((500, 2_000))
            self._join(client)
        elif action == "sync":
            self._sync(client)
        elif action == "beat":
            client.heartbeat()
        elif action == "commit":
            world.commit(
                {("orders", random.randrange(3)): random.randrange(100)},
                group_id=client.group_id,
                member_id=client.member_id,
                generation=client.generation,
            )
        elif action == "leave" and random.random() < 0.3:
            world.leave((client.member_id, client.join_arguments["instance_id"]), group_id=client.group_id)
        elif action == "outside":
            world.commit({("users", 0): 1}, group_id=random.choice("ghi"))
        elif action == "admin":
            self._administer()
        elif action == "time":
            self._keep_up()
            world.advance(random.choice((0, 10, 400, 400, 1_500)))
        elif action == "txn":
            self._transact()

    def _keep_up(self) -> None:
        """Most clients do what a client should, or groups would hardly ever come to rest."""
        for client in self.clients:
            group = self.world.machine.groups.get(client.group_id)
            waits = group is not None and any(m.join_ticket is client.joining for m in group.members.values())
            if waits or self.random.random() < 0.1:
                continue
            self._sync(client)
            if client.heartbeat().response.error_code != ErrorCode.NONE:
                self._join(client)

    def _join(self, client: Consumer) -> None:
        joining = client.world.join(client.group_id, client.member_id, client_id=client.name, **client.join_arguments)
        client.joining = joining
        if joining.response is None:
            return
        if joining.error in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            client.member_id = ""
        elif joining.error in (ErrorCode.MEMBER_ID_REQUIRED, ErrorCode.NONE):
            client.member_id = joining.response.member_id

    def _sync(self, client: Consumer) -> None:
        joining, client.joining = client.joining, Answered()
        if joining.response is not None and joining.error is ErrorCode.NONE:
            client.joining = joining
            client.take_join()
            client.sync()

    def _administer(self) -> None:
        world = self.world
        kind = self.random.randrange(3)
        ticket = Answered()
        if kind == 0:
            world.carry_out(world.machine.delete(["g", "h", "i"], ticket), ticket)
        elif kind == 1:
            world.delete_offsets({"users": [0], "orders": [0, 1]}, self.random.choice("ghi"))
        else:
            world.carry_out(world.machine.forget_topics([("users", bytes(16))]))

    def _transact(self) -> None:
        """Records of transactions reach the machine from the log alone."""
        producer_id = self.random.randrange(3)
        if producer_id in self.open and self.random.random() < 0.5:
            self.open.remove(producer_id)
            self.world.machine.replay_end_transaction(producer_id, committed=True)
            self._end_in_log(producer_id)
        else:
            self.open.add(producer_id)
            value = CommittedOffset(self.random.randrange(100), -1, "", START_MS)
            record = records.offset_commit("g", "orders", self.random.randrange(3), value)
            self.world.write(record, producer_id)
            self.transactional[len(self.world.log) - 1] = producer_id

    transactional: dict[int, int]
    ends: list[tuple[int, int]]

    def _end_in_log(self, producer_id: int) -> None:
        self.ends.append((len(self.world.log), producer_id))

    def compare(self) -> None:
        """Loading the log gives the same state."""
        loaded = World(seed=99)
        ends = list(self.ends)
        for offset, record in enumerate(self.world.log):
            while ends and ends[0][0] == offset:
                loaded.machine.replay_end_transaction(ends.pop(0)[1], committed=True)
            loaded.write(record, self.transactional.get(offset, -1))
        for _, producer_id in ends:
            loaded.machine.replay_end_transaction(producer_id, committed=True)
        groups, offsets, foreign = self.world.machine.durable_state()
        loaded_groups, loaded_offsets, loaded_foreign = loaded.machine.durable_state()
        assert set(loaded.machine.groups) == set(self.world.machine.groups)
        assert {group_id: loaded_groups[group_id] for group_id in groups} == groups
        assert (loaded_offsets, loaded_foreign) == (offsets, foreign)


def check(group: ClassicGroup, world: World) -> None:
    """The invariants that `classic.py` and `rebalance.py` state."""
    members = group.members.values()
    assert group.awaiting_join == sum(m.join_ticket is not None for m in members)
    assert group.static_members == {m.instance_id: m.member_id for m in members if m.instance_id}
    assert group.metadata_bytes == sum(max(len(metadata) for _, metadata in m.protocols) for m in members)
    assert group._support == Counter(name for m in members for name, _ in m.protocols)
    assert set(group.pending_syncs) <= set(group.members)
    assert not set(group.pending_joins) & set(group.members)
    assert (group.leader in group.members) == bool(group.members)
    if group.state is not GroupState.PREPARING_REBALANCE:  # static members that are away keep their place besides
        assert len(members) <= world.config.max_size + len(group.static_members)
    for member in members:
        assert member.is_parked or world.timers.left("session", group.group_id, member.member_id) is not None
        assert member.join_ticket is None or group.state is GroupState.PREPARING_REBALANCE
        assert member.sync_ticket is None or group.state is GroupState.COMPLETING_REBALANCE
    for member_id in group.pending_joins:
        assert world.timers.left("session", group.group_id, member_id) is not None
    if group.state is GroupState.EMPTY:
        assert not group.members
    else:
        assert group.protocol_type == "consumer"
    if group.state is GroupState.PREPARING_REBALANCE:
        assert world.timers.left("join", group.group_id) is not None
    if group.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
        assert group.members
        assert all(m.metadata(group.protocol_name) is not None for m in members)
        awaited = world.timers.left("sync", group.group_id) is not None
        assert awaited == bool(group.pending_syncs)


@pytest.mark.parametrize("seed", range(40))
def test_walks_keep_the_invariants_and_the_law(seed: int) -> None:
    walk = Walk(seed)
    walk.transactional, walk.ends = {}, []
    walk.run(STEPS)


def test_a_member_that_came_again_with_other_timeouts_is_loaded_with_these() -> None:
    world = World()
    (ada,) = world.stable("g", "ada", session_timeout_ms=10_000, rebalance_timeout_ms=60_000)
    ada.join_arguments.update(session_timeout_ms=20_000, rebalance_timeout_ms=30_000)
    world.rebalance(ada)
    member = world.restarted().group().members[ada.member_id]
    assert (member.session_timeout_ms, member.rebalance_timeout_ms) == (20_000, 30_000)


def test_consumer_groups_of_other_brokers_are_left_alone() -> None:
    """Key type 3: an Apache Kafka broker had the partition, and a KIP-848 group in it."""
    from blumfeld.coordinator.decision import LogRecord
    from blumfeld.protocol.messages.coordinator_log import encode_key, encode_value
    from blumfeld.protocol.messages.offsets_log import ConsumerGroupMetadataKey, ConsumerGroupMetadataValue

    key = ConsumerGroupMetadataKey(group_id="theirs")
    value = ConsumerGroupMetadataValue(epoch=3)
    exists = LogRecord(key, value, encode_key(key), encode_value(value, 0))
    gone = LogRecord(key, None, encode_key(key), None)
    offset = records.offset_commit("theirs", "orders", 0, CommittedOffset(5, -1, "", START_MS))

    world = World([offset, exists])
    assert world.offsets("theirs") == {("orders", 0): 5}
    world.join("theirs").assert_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    world.heartbeat("m", 1, group_id="theirs").assert_error(ErrorCode.UNKNOWN_MEMBER_ID)
    assert world.commit_error({("orders", 0): 6}, group_id="theirs") is ErrorCode.UNKNOWN_MEMBER_ID
    world.delete_offsets({"orders": [0]}, "theirs").assert_error(ErrorCode.NON_EMPTY_GROUP)
    assert world.delete("theirs") == [ErrorCode.NON_EMPTY_GROUP]
    world.advance(2 * world.config.offsets_retention_ms)
    assert world.offsets("theirs") == {("orders", 0): 5}

    world.write(gone)
    assert world.state("theirs") == "Empty"
    world.join("theirs").assert_error(ErrorCode.MEMBER_ID_REQUIRED)


def test_record_types_that_nobody_knows_are_skipped() -> None:
    from blumfeld.coordinator.decision import LogRecord

    world = World([LogRecord(None, None, b"\0\x63whatever", b"\0\0x"), LogRecord(None, None, b"\0\x63", None)])
    assert world.machine.durable_state() == World().machine.durable_state()


def test_very_old_records_are_read() -> None:
    from blumfeld.coordinator.decision import LogRecord
    from blumfeld.protocol.messages.coordinator_log import encode_key, encode_value
    from blumfeld.protocol.messages.offsets_log import LegacyOffsetCommitKey, LegacyOffsetCommitValue

    key = LegacyOffsetCommitKey(group="g", topic="orders", partition=0)
    value = LegacyOffsetCommitValue(offset=5, metadata="old", commit_timestamp=START_MS)
    world = World([LogRecord(key, value, encode_key(key), encode_value(value, 0))])
    assert world.offsets() == {("orders", 0): 5}
