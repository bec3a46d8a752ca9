"""The edge: Kafka's nested messages and the core's flat ones, both ways, in every version."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.raft import messages as core
from blumfeld.cluster.raft import rpc
from blumfeld.cluster.raft.batches import data_batch
from blumfeld.cluster.raft.listener import OffsetAndEpoch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.fetch import FetchRequest
from blumfeld.protocol.schema import UnsupportedFieldError
from tests.cluster.raft.quorum import key_of

CLUSTER = "cluster"
ENDPOINTS = (Endpoint("CONTROLLER", "host", 9093),)
REQUESTS: list[Any] = [
    core.VoteRequest(3, key_of(1), 10, 2, True, key_of(2)),
    core.BeginQuorumEpochRequest(3, 1, ENDPOINTS, key_of(2)),
    core.EndQuorumEpochRequest(3, 1, ENDPOINTS, (key_of(2), key_of(3))),
    core.FetchRequest(3, key_of(1), 10, 2, 500, 1000, 9),
    core.FetchSnapshotRequest(3, key_of(1), OffsetAndEpoch(10, 2), 5, 1000),
]
RECORDS = data_batch(BatchInfo(10, 11, 3), [b"a", b"b"], timestamp_ms=1)
RESPONSES: list[Any] = [
    core.VoteResponse(ErrorCode.NONE, 3, 1, ENDPOINTS, granted=True),
    core.BeginQuorumEpochResponse(ErrorCode.FENCED_LEADER_EPOCH, 3, None),
    core.EndQuorumEpochResponse(ErrorCode.NONE, 3, 1, ENDPOINTS),
    core.FetchResponse(
        ErrorCode.NONE, 3, 1, ENDPOINTS, 9, 2, None, None, (BatchInfo(10, 11, 3, len(RECORDS)),), RECORDS
    ),
    core.FetchSnapshotResponse(ErrorCode.NONE, 3, 1, ENDPOINTS, OffsetAndEpoch(10, 2), 100, 5, b"data"),
]


def over_the_wire(message: Any, version: int) -> Any:
    return type(message).decode(message.encode(version), version)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests_arrive_as_they_were_meant(request_: Any) -> None:
    message = rpc.write_request(request_, CLUSTER)
    arrived = over_the_wire(message, type(message).VERSIONS.high)
    assert arrived.cluster_id == CLUSTER
    assert rpc.read_request(arrived, CLUSTER) == request_


@pytest.mark.parametrize(
    ("request_", "response"), list(zip(REQUESTS, RESPONSES, strict=True)), ids=lambda value: type(value).__name__
)
def test_responses_arrive_as_they_were_meant(request_: Any, response: Any) -> None:
    message = rpc.write_request(request_, CLUSTER)
    version = type(message).VERSIONS.high
    answer = over_the_wire(rpc.write_response(message, response, version), version)
    assert rpc.read_response(answer, "CONTROLLER") == response


@pytest.mark.parametrize(
    ("request_", "response"), list(zip(REQUESTS, RESPONSES, strict=True)), ids=lambda value: type(value).__name__
)
def test_every_version_can_be_answered(request_: Any, response: Any) -> None:
    message = rpc.write_request(request_, CLUSTER)
    low = 12 if isinstance(message, FetchRequest) else type(message).VERSIONS.low
    for version in range(low, type(message).VERSIONS.high + 1):
        answer = over_the_wire(rpc.write_response(message, response, version), version)
        read = rpc.read_response(answer, "CONTROLLER")
        assert read[:3] == response[:3]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_another_cluster_is_refused(request_: Any) -> None:
    message = rpc.write_request(request_, "another")
    assert rpc.read_request(message, CLUSTER) == ErrorCode.INCONSISTENT_CLUSTER_ID
    message.cluster_id = None  # type: ignore[attr-defined]
    assert rpc.read_request(message, CLUSTER) == request_
    refusal = rpc.refuse(message, ErrorCode.INCONSISTENT_CLUSTER_ID)
    answer = over_the_wire(refusal, type(refusal).VERSIONS.high)
    read = rpc.read_response(answer, "CONTROLLER")
    assert (read.error, read.epoch) == (ErrorCode.INCONSISTENT_CLUSTER_ID, -1)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_another_partition_is_refused(request_: Any) -> None:
    for spoil in (_other_topic, _other_partition, _two_partitions, _no_topic):
        message: Any = rpc.write_request(request_, CLUSTER)
        spoil(message)
        assert rpc.read_request(message, CLUSTER) == ErrorCode.INVALID_REQUEST


def _other_topic(message: Any) -> None:
    topic = message.topics[0]
    if hasattr(topic, "topic_id"):
        topic.topic, topic.topic_id = "other", b"x" * 16
    elif hasattr(topic, "topic_name"):
        topic.topic_name = "other"
    else:
        topic.name = "other"


def _other_partition(message: Any) -> None:
    partition = message.topics[0].partitions[0]
    setattr(partition, "partition" if hasattr(partition, "partition") else "partition_index", 1)


def _two_partitions(message: Any) -> None:
    message.topics[0].partitions *= 2


def _no_topic(message: Any) -> None:
    message.topics = []


def test_an_old_vote_request_names_no_directories() -> None:
    message = rpc.write_request(REQUESTS[0]._replace(pre_vote=False), CLUSTER)
    arrived = over_the_wire(message, 0)
    assert rpc.read_request(arrived, CLUSTER) == core.VoteRequest(3, ReplicaKey(1), 10, 2, False, None)


def test_a_pre_vote_cannot_be_said_in_an_old_version() -> None:
    with pytest.raises(UnsupportedFieldError):
        rpc.write_request(REQUESTS[0], CLUSTER).encode(1)


def test_old_successors_are_ids() -> None:
    arrived = over_the_wire(rpc.write_request(REQUESTS[2], CLUSTER), 0)
    read = rpc.read_request(arrived, CLUSTER)
    assert read == core.EndQuorumEpochRequest(3, 1, (), (ReplicaKey(2), ReplicaKey(3)))


def test_an_older_fetch_says_less() -> None:
    arrived = over_the_wire(rpc.write_request(REQUESTS[3], CLUSTER), 17)
    read = rpc.read_request(arrived, CLUSTER)
    assert read == REQUESTS[3]._replace(high_watermark=core.NO_HIGH_WATERMARK_SUPPORT)
    arrived = over_the_wire(rpc.write_request(REQUESTS[3], CLUSTER), 16)
    read = rpc.read_request(arrived, CLUSTER)
    assert isinstance(read, core.FetchRequest)
    assert read.replica == ReplicaKey(1)


def test_diverging_epochs_and_snapshots_cross_the_wire() -> None:
    message = rpc.write_request(REQUESTS[3], CLUSTER)
    for response in (
        core.FetchResponse(ErrorCode.NONE, 3, 1, ENDPOINTS, diverging=OffsetAndEpoch(7, 2)),
        core.FetchResponse(ErrorCode.NONE, 3, 1, ENDPOINTS, snapshot=OffsetAndEpoch(9, 3)),
        core.FetchResponse(ErrorCode.NOT_LEADER_OR_FOLLOWER, 3, None),
    ):
        answer = over_the_wire(rpc.write_response(message, response, 18), 18)
        assert rpc.read_response(answer, "CONTROLLER") == response


def test_damaged_records_are_not_taken() -> None:
    message = rpc.write_request(REQUESTS[3], CLUSTER)
    damaged = bytearray(RECORDS + RECORDS)
    damaged[-1] ^= 1
    response = RESPONSES[3]._replace(records=bytes(damaged))
    read: Any = rpc.read_response(over_the_wire(rpc.write_response(message, response, 18), 18), "CONTROLLER")
    assert (read.error, len(read.batches)) == (ErrorCode.NONE, 1)  # what comes before the damage counts
    response = response._replace(records=bytes(damaged[len(RECORDS) :]))
    read = rpc.read_response(over_the_wire(rpc.write_response(message, response, 18), 18), "CONTROLLER")
    assert read.error == ErrorCode.CORRUPT_MESSAGE
