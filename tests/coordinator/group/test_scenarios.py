"""Every request in every state of a group: what it is answered, as Apache Kafka answers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blumfeld.protocol.errors import ErrorCode
from tests.coordinator.group.world import Answered, Consumer, World

NONE = ErrorCode.NONE
UNKNOWN = ErrorCode.UNKNOWN_MEMBER_ID
OLD = ErrorCode.ILLEGAL_GENERATION
MOVING = ErrorCode.REBALANCE_IN_PROGRESS
FENCED = ErrorCode.FENCED_INSTANCE_ID
NEEDS_ID = ErrorCode.MEMBER_ID_REQUIRED
NOT_FOUND = ErrorCode.GROUP_ID_NOT_FOUND
IN_USE = ErrorCode.NON_EMPTY_GROUP
SUBSCRIBED = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
PARKED = None

STATES = ("Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable")


class Scene:
    """A group in one state, with a follower `ada` (static, instance "ada") that is not parked, and a leader."""

    def __init__(self, state: str) -> None:
        self.world = world = World()
        self.ada = Consumer(world, "ada", "g")
        self.ada.member_id, self.ada.generation = "ada-0", 1
        if state == "Dead":
            return
        leader = world.consumer("leader")
        self.ada = world.consumer("ada", instance_id="ada")
        world.rebalance(leader, self.ada)
        if not leader.leads:
            leader.join()
            self.ada.join()
            world.settle()
        assert world.state() == "Stable"
        assert leader.leads
        if state == "Empty":
            world.leave(leader.member_id, self.ada.member_id)
        if state in ("PreparingRebalance", "CompletingRebalance"):
            leader.join().assert_parked()
        if state == "CompletingRebalance":
            self.ada.join()
            self.ada.take_join()
        assert world.state() == state

    def error(self, answered: Answered) -> ErrorCode | None:
        if answered.is_parked:
            return PARKED
        response = answered.response
        for part in ("topics", "members"):
            parts = getattr(response, part, None)
            if parts and hasattr(parts[0], "error_code"):
                return ErrorCode(parts[0].error_code)
            if parts and hasattr(parts[0], "partitions"):
                return ErrorCode(parts[0].partitions[0].error_code)
        return ErrorCode(response.error_code)


REQUESTS: dict[str, Callable[[World, Consumer], Answered]] = {
    "a newcomer joins": lambda world, _: world.join(),
    "an old newcomer joins": lambda world, _: world.join(version=3),
    "a static newcomer joins": lambda world, _: world.join(instance_id="new"),
    "a stranger joins with an id": lambda world, _: world.join(member_id="stranger"),
    "ada joins again": lambda world, ada: world.join(member_id=ada.member_id, instance_id="ada"),
    "ada's next process joins": lambda world, _: world.join(instance_id="ada"),
    "ada's double joins": lambda world, _: world.join(member_id="double", instance_id="ada"),
    "ada syncs": lambda world, ada: world.sync(ada.member_id, ada.generation, instance_id="ada"),
    "ada syncs too late": lambda world, ada: world.sync(ada.member_id, ada.generation - 1),
    "a stranger syncs": lambda world, ada: world.sync("stranger", ada.generation),
    "ada's double syncs": lambda world, ada: world.sync("double", ada.generation, instance_id="ada"),
    "ada beats": lambda world, ada: world.heartbeat(ada.member_id, ada.generation, instance_id="ada"),
    "ada beats too late": lambda world, ada: world.heartbeat(ada.member_id, ada.generation - 1),
    "a stranger beats": lambda world, ada: world.heartbeat("stranger", ada.generation),
    "ada's double beats": lambda world, ada: world.heartbeat("double", ada.generation, instance_id="ada"),
    "ada leaves": lambda world, ada: world.leave(ada.member_id),
    "ada is removed": lambda world, _: world.leave(("", "ada")),
    "ada's double leaves": lambda world, _: world.leave(("double", "ada")),
    "a stranger leaves": lambda world, _: world.leave("stranger"),
    "ada commits": lambda world, ada: world.commit({("t", 0): 1}, member_id=ada.member_id, generation=ada.generation),
    "ada commits too late": lambda world, ada: world.commit(
        {("t", 0): 1}, member_id=ada.member_id, generation=ada.generation - 1
    ),
    "a stranger commits": lambda world, ada: world.commit(
        {("t", 0): 1}, member_id="stranger", generation=ada.generation
    ),
    "ada's double commits": lambda world, ada: world.commit(
        {("t", 0): 1}, member_id="double", generation=ada.generation, instance_id="ada"
    ),
    "somebody commits from outside": lambda world, _: world.commit({("t", 0): 1}),
    "offsets in use are deleted": lambda world, _: world.delete_offsets({"orders": [0]}),
    "other offsets are deleted": lambda world, _: world.delete_offsets({"other": [0]}),
}

#                                    Dead       Empty      Preparing  Completing  Stable
EXPECTED: dict[str, tuple[ErrorCode | None, ...]] = {
    "a newcomer joins":              (NEEDS_ID,  NEEDS_ID,  NEEDS_ID,  NEEDS_ID,   NEEDS_ID),
    "an old newcomer joins":         (PARKED,    PARKED,    PARKED,    PARKED,     PARKED),
    "a static newcomer joins":       (PARKED,    PARKED,    PARKED,    PARKED,     PARKED),
    "a stranger joins with an id":   (UNKNOWN,   UNKNOWN,   UNKNOWN,   UNKNOWN,    UNKNOWN),
    "ada joins again":               (UNKNOWN,   UNKNOWN,   NONE,      NONE,       NONE),
    "ada's next process joins":      (PARKED,    PARKED,    NONE,      PARKED,     NONE),
    "ada's double joins":            (UNKNOWN,   UNKNOWN,   FENCED,    FENCED,     FENCED),
    "ada syncs":                     (UNKNOWN,   UNKNOWN,   MOVING,    PARKED,     NONE),
    "ada syncs too late":            (UNKNOWN,   UNKNOWN,   OLD,       OLD,        OLD),
    "a stranger syncs":              (UNKNOWN,   UNKNOWN,   UNKNOWN,   UNKNOWN,    UNKNOWN),
    "ada's double syncs":            (UNKNOWN,   UNKNOWN,   FENCED,    FENCED,     FENCED),
    "ada beats":                     (UNKNOWN,   UNKNOWN,   MOVING,    NONE,       NONE),
    "ada beats too late":            (UNKNOWN,   UNKNOWN,   OLD,       OLD,        OLD),
    "a stranger beats":              (UNKNOWN,   UNKNOWN,   UNKNOWN,   UNKNOWN,    UNKNOWN),
    "ada's double beats":            (UNKNOWN,   UNKNOWN,   FENCED,    FENCED,     FENCED),
    "ada leaves":                    (UNKNOWN,   UNKNOWN,   NONE,      NONE,       NONE),
    "ada is removed":                (UNKNOWN,   UNKNOWN,   NONE,      NONE,       NONE),
    "ada's double leaves":           (UNKNOWN,   UNKNOWN,   FENCED,    FENCED,     FENCED),
    "a stranger leaves":             (UNKNOWN,   UNKNOWN,   UNKNOWN,   UNKNOWN,    UNKNOWN),
    "ada commits":                   (NOT_FOUND, UNKNOWN,   NONE,      MOVING,     NONE),
    "ada commits too late":          (NOT_FOUND, UNKNOWN,   OLD,       OLD,        OLD),
    "a stranger commits":            (NOT_FOUND, UNKNOWN,   UNKNOWN,   UNKNOWN,    UNKNOWN),
    "ada's double commits":          (NOT_FOUND, UNKNOWN,   FENCED,    FENCED,     FENCED),
    "somebody commits from outside": (NONE,      NONE,      UNKNOWN,   UNKNOWN,    UNKNOWN),
    "offsets in use are deleted":    (NOT_FOUND, NONE,      SUBSCRIBED, SUBSCRIBED, SUBSCRIBED),
    "other offsets are deleted":     (NOT_FOUND, NONE,      NONE,      NONE,       NONE),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_scenario(state: str, request_name: str) -> None:
    scene = Scene(state)
    answered = REQUESTS[request_name](scene.world, scene.ada)
    assert scene.error(answered) is EXPECTED[request_name][STATES.index(state)]


@pytest.mark.parametrize("state", STATES)
def test_deleting_the_group(state: str) -> None:
    expected = {"Dead": NOT_FOUND, "Empty": NONE}.get(state, IN_USE)
    assert Scene(state).world.delete("g") == [expected]
