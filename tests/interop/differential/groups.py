"""Groups and committed offsets: every request in every state in which it is refused."""

from __future__ import annotations

from typing import Any

from blumfeld.coordinator.partitioning import partition_for
from blumfeld.protocol.messages.delete_groups import DeleteGroupsRequest
from blumfeld.protocol.messages.describe_groups import DescribeGroupsRequest
from blumfeld.protocol.messages.find_coordinator import FindCoordinatorRequest
from blumfeld.protocol.messages.heartbeat import HeartbeatRequest
from blumfeld.protocol.messages.join_group import JoinGroupRequest
from blumfeld.protocol.messages.leave_group import LeaveGroupRequest
from blumfeld.protocol.messages.list_groups import ListGroupsRequest
from blumfeld.protocol.messages.offset_commit import OffsetCommitRequest
from blumfeld.protocol.messages.offset_delete import OffsetDeleteRequest
from blumfeld.protocol.messages.offset_fetch import OffsetFetchRequest
from blumfeld.protocol.messages.sync_group import SyncGroupRequest
from tests.interop.differential.script import Script
from tests.interop.differential.topics import UNKNOWN_ID, make

OFFSETS_PARTITIONS = 50
PATIENT_MS = 600_000
"""Members that are not heard of again stay as long as the script may take."""
SUBSCRIPTION = bytes.fromhex("0001 00000001 0006") + b"groups" + bytes.fromhex("ffffffff 00000000")


def find_coordinator(script: Script) -> None:
    """Also makes the offsets topic, and waits until its partitions have loaded."""

    def ask(step: str, keys: list[str], kind: int = 0, version: int = 4) -> None:
        fields: Any = {"coordinator_keys": keys} if version >= 4 else {"key": keys[0]}
        if version >= 1:
            fields["key_type"] = kind
        script.ask(f"find coordinator/{step}", FindCoordinatorRequest(**fields), version)

    script.until(lambda: is_loaded(script))
    ask("of nothing", [])
    ask("of two", ["first", "second"])
    ask("of one twice", ["first", "first"])
    ask("of no name", [""])
    ask("of no kind", ["first"], 9)
    ask("of a share", ["first"], 2)
    ask("of a share, old", ["first"], 2, 5)
    for version in range(7):
        ask(f"version {version}", ["first"], version=version)


def is_loaded(script: Script) -> bool:
    """Whether every partition of the offsets topic has a coordinator that has read it: a group of each is asked for."""
    groups = list({partition_for(name, OFFSETS_PARTITIONS): name for name in map(str, range(1000))}.values())
    assert len(groups) == OFFSETS_PARTITIONS
    found = script.quietly(FindCoordinatorRequest(coordinator_keys=groups), 4)
    asked = [OffsetFetchRequest.Group(group_id=group, topics=[]) for group in groups]
    fetched = script.quietly(OffsetFetchRequest(groups=asked), 8)
    return not any(one.error_code for one in (*found.coordinators, *fetched.groups))


def joining(group: str = "group", member: str = "", instance: str | None = None, **more: Any) -> JoinGroupRequest:
    protocols = more.pop("protocols", ["range"])
    fields: Any = {
        "session_timeout_ms": PATIENT_MS,
        "rebalance_timeout_ms": PATIENT_MS,
        "protocol_type": "consumer",
        **more,
        "protocols": [JoinGroupRequest.Protocol(name=name, metadata=SUBSCRIPTION) for name in protocols],
    }
    return JoinGroupRequest(group_id=group, member_id=member, group_instance_id=instance, **fields)


def syncing(group: str, generation: int, member: str, instance: str | None = None, **more: Any) -> SyncGroupRequest:
    assignments = [SyncGroupRequest.Assignment(member_id=m, assignment=b"work") for m in more.pop("assignments", [])]
    return SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=instance,
        assignments=assignments,
        **more,
    )


def classic_group(script: Script) -> None:
    def join(step: str, request: JoinGroupRequest, version: int = 9) -> Any:
        return script.ask(f"join group/{step}", request, version)

    join("no group", joining(""))
    join("session too short", joining(session_timeout_ms=1))
    join("session too long", joining(session_timeout_ms=2**31 - 1))
    join("unknown member", joining(member="nobody"))
    join("unknown member of an unknown group", joining("unheard of", member="nobody"))
    join("no protocols", joining(protocols=[]))
    join("no protocol type", joining(protocol_type=""))
    given = join("without an id", joining())
    join("without an id, old", joining("old"), 3)
    member = given.member_id
    joined = join("with the id given", joining(member=member))
    generation = joined.generation_id
    join("another type", joining(member=member, protocol_type="connect"))
    join("no common protocol", joining(member=member, protocols=["other"]))
    join("another's type", joining(protocol_type="connect"), 3)

    def sync(step: str, request: SyncGroupRequest, version: int = 5) -> None:
        script.ask(f"sync group/{step}", request, version)

    kinds = {"protocol_type": "consumer", "protocol_name": "range"}
    sync("no group", syncing("", 1, "m"))
    sync("unknown group", syncing("unheard of", 1, "m"))
    sync("unknown member", syncing("group", generation, "nobody", **kinds))
    sync("wrong generation", syncing("group", generation + 1, member, **kinds))
    sync("another type", syncing("group", generation, member, protocol_type="connect", protocol_name="range"))
    sync("another protocol", syncing("group", generation, member, protocol_type="consumer", protocol_name="other"))
    heartbeats(script, "before sync", generation, member)
    sync("good", syncing("group", generation, member, assignments=[member], **kinds))
    sync("again", syncing("group", generation, member, **kinds))
    heartbeats(script, "stable", generation, member)
    join("as it is", joining(member=member))
    script.ask("describe groups/stable", DescribeGroupsRequest(groups=["group"]), 5)
    script.ask("list groups/stable", ListGroupsRequest(states_filter=["Stable"], types_filter=["classic"]), 5)
    offsets_of_members(script, generation, member)
    script.ask("delete groups/with members", DeleteGroupsRequest(groups_names=["group"]), 2)
    leave(script, member)


def heartbeats(script: Script, state: str, generation: int, member: str) -> None:
    def beat(step: str, group: str, generation: int, member: str, instance: str | None = None) -> None:
        request = HeartbeatRequest(
            group_id=group, generation_id=generation, member_id=member, group_instance_id=instance
        )
        script.ask(f"heartbeat/{state}: {step}", request, 4)

    beat("good", "group", generation, member)
    beat("no group", "", generation, member)
    beat("unknown group", "unheard of", generation, member)
    beat("unknown member", "group", generation, "nobody")
    beat("wrong generation", "group", generation + 1, member)
    beat("negative generation", "group", -1, member)
    beat("unknown instance", "group", generation, member, "nobody")


def committing(group: str, member: str, generation: int, *names: str, **more: Any) -> OffsetCommitRequest:
    partitions = [
        OffsetCommitRequest.Topic.Partition(
            partition_index=index, committed_offset=offset, committed_metadata=more.get("metadata", "")
        )
        for index, offset in more.get("offsets", {0: 5}).items()
    ]
    topics = [
        OffsetCommitRequest.Topic(name=name, topic_id=more.get("topic_id", bytes(16)), partitions=partitions)
        for name in names
    ]
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=more.get("instance"),
        topics=topics,
    )


def offsets_of_members(script: Script, generation: int, member: str) -> None:
    def commit(step: str, request: OffsetCommitRequest, version: int = 8) -> None:
        script.ask(f"offset commit/{step}", request, version)

    commit("by a member", committing("group", member, generation, "groups"))
    commit("by nobody", committing("group", "", -1, "groups"))
    commit("by an unknown member", committing("group", "nobody", generation, "groups"))
    commit("in a wrong generation", committing("group", member, generation + 1, "groups"))
    commit("by an unknown instance", committing("group", member, generation, "groups", instance="nobody"))
    commit("by a member without a group", committing("unheard of", member, generation, "groups"))
    for version in (8, 9):
        commit(f"into an unknown group, version {version}", committing("unheard", "m", 1, "groups"), version)
    deleting = OffsetDeleteRequest.Topic(
        name="groups", partitions=[OffsetDeleteRequest.Topic.Partition(partition_index=0)]
    )
    request = OffsetDeleteRequest(group_id="group", topics=[deleting])
    script.ask("offset delete/of a topic subscribed to", request, 0)


def leave(script: Script, member: str) -> None:
    def ask(step: str, group: str, *members: tuple[str, str | None], version: int = 5) -> None:
        leaving = [LeaveGroupRequest.Member(member_id=m, group_instance_id=i) for m, i in members]
        script.ask(f"leave group/{step}", LeaveGroupRequest(group_id=group, members=leaving), version)

    ask("no group", "", ("m", None))
    ask("unknown group", "unheard of", ("m", None))
    ask("nobody", "group")
    ask("unknown", "group", ("nobody", None), ("", "nobody"), ("nobody", "nobody"))
    request = LeaveGroupRequest(group_id="group", member_id="nobody")
    script.ask("leave group/unknown, old", request, 2)
    ask("good and bad", "group", (member, None), ("nobody", None))
    ask("again", "group", (member, None))
    script.ask("describe groups/empty", DescribeGroupsRequest(groups=["group"]), 6)


def static_members(script: Script) -> None:
    def join(step: str, request: JoinGroupRequest) -> Any:
        return script.ask(f"static members/{step}", request, 9)

    first = join("joins", joining("static", "", "one"))
    kinds = {"protocol_type": "consumer", "protocol_name": "range"}
    member, generation = first.member_id, first.generation_id
    request = syncing("static", generation, member, "one", assignments=[member], **kinds)
    script.ask("static members/syncs", request, 5)
    second = join("comes back", joining("static", "", "one"))
    request = syncing("static", second.generation_id, member, "one", **kinds)
    script.ask("static members/the old one syncs", request, 5)
    beating = HeartbeatRequest(group_id="static", generation_id=generation, member_id=member, group_instance_id="one")
    script.ask("static members/the old one's heartbeat", beating, 4)
    join("the old one joins", joining("static", member, "one"))
    join("an instance that is not known", joining("static", member, "two"))
    commit = committing("static", member, generation, "groups", instance="one")
    script.ask("static members/the old one commits", commit, 8)
    script.ask("static members/described", DescribeGroupsRequest(groups=["static"]), 5)
    leaving = LeaveGroupRequest.Member(member_id="", group_instance_id="one")
    script.ask("static members/leaves", LeaveGroupRequest(group_id="static", members=[leaving]), 5)


def offsets(script: Script) -> None:
    (topic_id,) = make(script, "groups", partitions=3)

    def commit(step: str, request: OffsetCommitRequest, version: int = 8) -> None:
        script.ask(f"offset commit/{step}", request, version)

    commit("no group", committing("", "", -1, "groups"))
    commit("outside a group", committing("first", "", -1, "groups", offsets={0: 5, 1: 7}))
    commit("of nothing", committing("first", "", -1))
    commit("unknown topic", committing("first", "", -1, "nothing"))
    commit("bad topic name", committing("first", "", -1, "bad/name"))
    commit("unknown partition", committing("first", "", -1, "groups", offsets={7: 1, -1: 1}))
    commit("good and bad", committing("first", "", -1, "groups", "nothing"))
    commit("negative offset", committing("first", "", -1, "groups", offsets={2: -5}))
    commit("too much metadata", committing("first", "", -1, "groups", metadata="x" * 4097))
    commit("just so much metadata", committing("first", "", -1, "groups", metadata="x" * 4096))
    commit("no metadata", committing("first", "", -1, "groups", metadata=None))
    commit("unknown id", committing("first", "", -1, "", topic_id=UNKNOWN_ID), 10)
    commit("by id", committing("first", "", -1, "", topic_id=topic_id), 10)
    for version in range(2, 11):
        commit(f"version {version}", committing("first", "", -1, "groups", topic_id=topic_id), version)

    def fetch(step: str, *groups: tuple[str, dict[str, list[int]] | None], version: int = 9, **more: Any) -> None:
        wanted: Any = OffsetFetchRequest.Group
        asked = []
        for group, topics in groups:
            named = [wanted.Topic(name=name, partition_indexes=p) for name, p in (topics or {}).items()]
            asked.append(wanted(group_id=group, topics=None if topics is None else named, **more))
        script.ask(f"offset fetch/{step}", OffsetFetchRequest(groups=asked), version)

    fetch("nothing")
    fetch("all", ("first", None))
    fetch("some", ("first", {"groups": [0, 7], "nothing": [0]}))
    fetch("of an unknown group", ("unheard of", None), ("unheard of, too", {"groups": [0]}))
    fetch("of no group", ("", None))
    fetch("by an unknown member", ("first", None), member_id="nobody", member_epoch=3)
    fetch("two groups", ("first", {"groups": [0]}), ("unheard of", {"groups": [0]}))
    by_id = OffsetFetchRequest.Group.Topic(topic_id=UNKNOWN_ID, partition_indexes=[0])
    known = OffsetFetchRequest.Group.Topic(topic_id=topic_id, partition_indexes=[0])
    group = OffsetFetchRequest.Group(group_id="first", topics=[by_id, known])
    script.ask("offset fetch/by id", OffsetFetchRequest(groups=[group]), 10)
    for version in range(1, 8):
        topics = [OffsetFetchRequest.Topic(name="groups", partition_indexes=[0, 7])]
        request = OffsetFetchRequest(group_id="first", topics=topics)
        script.ask(f"offset fetch/version {version}", request, version)


def forgetting(script: Script) -> None:
    """Offsets and groups deleted."""
    script.quietly(committing("gone", "", -1, "groups", offsets={0: 1, 1: 1}), 8)

    def forget(step: str, group: str, *topics: tuple[str, list[int]]) -> None:
        wanted = [
            OffsetDeleteRequest.Topic(
                name=name, partitions=[OffsetDeleteRequest.Topic.Partition(partition_index=i) for i in indexes]
            )
            for name, indexes in topics
        ]
        script.ask(f"offset delete/{step}", OffsetDeleteRequest(group_id=group, topics=wanted), 0)

    forget("of no group", "", ("groups", [0]))
    forget("of an unknown group", "unheard of", ("groups", [0]))
    forget("of nothing", "gone")
    forget("unknown topic", "gone", ("nothing", [0]))
    forget("unknown partition", "gone", ("groups", [7]))
    forget("not committed", "gone", ("groups", [2]))
    forget("good", "gone", ("groups", [0]))

    def delete(step: str, *groups: str, version: int = 2) -> None:
        script.ask(f"delete groups/{step}", DeleteGroupsRequest(groups_names=list(groups)), version)

    delete("none")
    delete("unknown", "unheard of")
    delete("no name", "")
    delete("good and bad", "gone", "unheard of")
    delete("the same twice", "gone", "gone")
    for version in range(4):
        delete(f"version {version}", "unheard of", version=version)
    for version in range(7):
        request = DescribeGroupsRequest(groups=["unheard of", ""])
        script.ask(f"describe groups/unknown, version {version}", request, version)
    for title, states, types in (
        ("unknown state", ["Lost"], []),
        ("unknown type", [], ["modern"]),
        ("empty", ["empty"], []),
        ("consumer", [], ["consumer"]),
    ):
        listing = ListGroupsRequest(states_filter=states, types_filter=types)
        script.ask(f"list groups/{title}", listing, 5)
    for version in range(6):
        script.ask(f"list groups/version {version}", ListGroupsRequest(), version)


SECTIONS = (find_coordinator, offsets, classic_group, static_members, forgetting)
