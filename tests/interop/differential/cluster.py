"""The broker and its cluster: versions, brokers, quorum, disks, elections, reassignments, features."""

from __future__ import annotations

import struct
from typing import Any

from blumfeld.broker.table import SERVED
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest
from blumfeld.protocol.messages.describe_cluster import DescribeClusterRequest
from blumfeld.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from blumfeld.protocol.messages.describe_quorum import DescribeQuorumRequest
from blumfeld.protocol.messages.elect_leaders import ElectLeadersRequest
from blumfeld.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from blumfeld.protocol.messages.unregister_broker import UnregisterBrokerRequest
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest
from tests.interop.differential.script import Script, title
from tests.interop.differential.topics import make


def versions(script: Script) -> None:
    response = script.quietly(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
    script.steps["api versions/served"] = {
        title(row.api_key): f"{row.min_version}-{row.max_version}" for row in response.api_keys
    }
    script.steps["api versions/features"] = {
        feature.name: f"{feature.min_version}-{feature.max_version}" for feature in response.supported_features
    }
    for name, version in (("", "1"), ("a", ""), ("a b", "1"), ("-a", "1"), ("a", "1 2")):
        request = ApiVersionsRequest(client_software_name=name, client_software_version=version)
        script.ask(f"api versions/client {name!r} {version!r}", request, 3)
    script.send("api versions/unknown version", struct.pack(">hhih", ApiKey.API_VERSIONS, 99, 7, -1) + b"\0")


def frames(script: Script) -> None:
    """What can't be understood."""
    script.send("frames/unknown key", struct.pack(">hhih", 999, 0, 1, -1))
    script.send("frames/dead key", struct.pack(">hhih", ApiKey.LEADER_AND_ISR, 0, 1, -1))
    script.send("frames/a controller's key", struct.pack(">hhih", ApiKey.VOTE, 0, 1, -1) + b"\0")
    for key, api in SERVED.items():
        if key != ApiKey.API_VERSIONS:
            script.send(f"frames/{title(key)} of a version too new", struct.pack(">hhih", key, 99, 1, -1))
            if api.first_version > 0:
                script.send(f"frames/{title(key)} of a version too old", struct.pack(">hhih", key, 0, 1, -1))
    for version in range(3):
        script.send(f"frames/PRODUCE {version}", struct.pack(">hhihhii", 0, version, 1, -1, 1, 1000, 0))
    script.send("frames/cut body", struct.pack(">hhih", ApiKey.METADATA, 1, 1, -1) + b"\0\0")
    script.send("frames/absurd count", struct.pack(">hhihi", ApiKey.METADATA, 1, 1, -1, 2**31 - 1))
    script.send("frames/negative count", struct.pack(">hhihi", ApiKey.LIST_OFFSETS, 1, 1, -1, -5))
    script.send("frames/null where none may be", struct.pack(">hhihh", ApiKey.HEARTBEAT, 0, 1, -1, -1))
    script.send("frames/bytes behind the end", struct.pack(">hhih", ApiKey.LIST_GROUPS, 0, 1, -1) + b"more")
    script.send("frames/cut header", struct.pack(">hhi", ApiKey.LIST_GROUPS, 0, 1))
    script.send("frames/7 bytes", struct.pack(">hhh", ApiKey.LIST_GROUPS, 0, 1) + b"\0")
    script.send("frames/nothing", b"")


def describe(script: Script) -> None:
    def ask(step: str, version: int, **fields: Any) -> None:
        operations = fields.pop("operations", False)
        request = DescribeClusterRequest(include_cluster_authorized_operations=operations, **fields)
        script.ask(f"describe cluster/{step}", request, version)

    ask("with operations", 0, operations=True)
    ask("controllers", 1, endpoint_type=2)
    ask("unknown endpoints", 1, endpoint_type=9)
    ask("fenced ones too", 2, include_fenced_brokers=True)
    for version in range(3):
        ask(f"version {version}", version)

    def quorum(step: str, *topics: tuple[str, list[int]], version: int = 2) -> None:
        wanted = [
            DescribeQuorumRequest.Topic(
                topic_name=name,
                partitions=[DescribeQuorumRequest.Topic.Partition(partition_index=i) for i in indexes],
            )
            for name, indexes in topics
        ]
        script.ask(f"describe quorum/{step}", DescribeQuorumRequest(topics=wanted), version)

    quorum("nothing")
    quorum("unknown topic", ("nothing", [0]))
    quorum("unknown partition", ("__cluster_metadata", [1]))
    quorum("two", ("__cluster_metadata", [0]), ("nothing", [0]))


def log_directories(script: Script) -> None:
    make(script, "stored", partitions=2)

    def ask(step: str, topics: dict[str, list[int]] | None, version: int = 4) -> None:
        wanted = None
        if topics is not None:
            wanted = [DescribeLogDirsRequest.Topic(topic=name, partitions=p) for name, p in topics.items()]
        script.ask(f"describe log dirs/{step}", DescribeLogDirsRequest(topics=wanted), version)

    ask("some", {"stored": [0, 7], "nothing": [0]})
    ask("none", {})
    for version in range(1, 6):
        ask(f"version {version}", {"stored": [0]}, version)


def elections(script: Script) -> None:
    make(script, "elected", partitions=2)

    def ask(step: str, kind: int, *topics: tuple[str, list[int]], version: int = 2) -> None:
        wanted = [ElectLeadersRequest.TopicPartitions(topic=name, partitions=p) for name, p in topics]
        fields: Any = {"election_type": kind} if version else {}
        request = ElectLeadersRequest(topic_partitions=wanted, timeout_ms=10_000, **fields)
        script.ask(f"elect leaders/{step}", request, version)

    for name, kind in (("preferred", 0), ("unclean", 1), ("unknown kind", 9)):
        ask(f"{name}: not needed", kind, ("elected", [0]))
        ask(f"{name}: unknown", kind, ("nothing", [0]), ("elected", [7]))
    ask("nothing", 0)
    ask("the same twice", 0, ("elected", [0]), ("elected", [0]))
    ask("version 0", 0, ("elected", [0]), version=0)
    everything = ElectLeadersRequest(topic_partitions=None, timeout_ms=10_000)
    script.ask("elect leaders/everything", everything, 2)


def reassignments(script: Script) -> None:
    make(script, "moved", partitions=2)

    def ask(step: str, *partitions: tuple[str, int, list[int] | None], version: int = 1, **more: Any) -> None:
        wanted: Any = AlterPartitionReassignmentsRequest.Topic
        topics = [
            wanted(name=name, partitions=[wanted.Partition(partition_index=index, replicas=replicas)])
            for name, index, replicas in partitions
        ]
        request = AlterPartitionReassignmentsRequest(topics=topics, timeout_ms=10_000, **more)
        script.ask(f"alter reassignments/{step}", request, version)

    ask("nothing")
    ask("to where it is", ("moved", 0, [1]))
    ask("unknown topic", ("nothing", 0, [1]))
    ask("unknown partition", ("moved", 7, [1]))
    ask("unknown broker", ("moved", 0, [9]))
    ask("a broker twice", ("moved", 0, [1, 1]))
    ask("a negative broker", ("moved", 0, [-1]))
    ask("no replicas", ("moved", 0, []))
    ask("another factor", ("moved", 0, [1, 9]), allow_replication_factor_change=False)
    ask("cancel what is not there", ("moved", 0, None))
    ask("good and bad", ("moved", 0, [1]), ("nothing", 0, [1]))
    ask("the same twice", ("moved", 0, [1]), ("moved", 0, [1]))
    ask("version 0", ("moved", 0, [1]), version=0)

    def listed(step: str, topics: dict[str, list[int]] | None) -> None:
        wanted = None
        if topics is not None:
            asked = ListPartitionReassignmentsRequest.Topic
            wanted = [asked(name=name, partition_indexes=indexes) for name, indexes in topics.items()]
        request = ListPartitionReassignmentsRequest(topics=wanted, timeout_ms=10_000)
        script.ask(f"list reassignments/{step}", request, 0)

    listed("all", None)
    listed("none", {})
    listed("known and unknown", {"moved": [0, 7], "nothing": [0]})


def features(script: Script) -> None:
    def ask(step: str, *updates: tuple[str, int, int], version: int = 2) -> None:
        wanted = [
            UpdateFeaturesRequest.FeatureUpdate(feature=name, max_version_level=level, upgrade_type=kind)
            for name, level, kind in updates
        ]
        request = UpdateFeaturesRequest(feature_updates=wanted, timeout_ms=10_000, validate_only=True)
        script.ask(f"update features/{step}", request, version)

    ask("nothing")
    ask("unknown", ("nothing", 1, 1))
    ask("no name", ("", 1, 1))
    ask("unknown kind", ("metadata.version", 25, 9))
    ask("too new", ("metadata.version", 1000, 1))
    ask("too old", ("metadata.version", 1, 2))
    ask("zero", ("metadata.version", 0, 2))
    ask("negative", ("metadata.version", -1, 1))
    ask("the same twice", ("nothing", 1, 1), ("nothing", 2, 1))
    ask("good and bad, by itself", ("kraft.version", 1, 1), ("nothing", 1, 1), version=1)
    script.ask("unregister broker/unknown", UnregisterBrokerRequest(broker_id=77), 0)
    script.ask("unregister broker/negative", UnregisterBrokerRequest(broker_id=-1), 0)


SECTIONS = (versions, frames, describe, log_directories, elections, reassignments, features)
