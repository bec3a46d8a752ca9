"""What no oracle in Python knows rests on Kafka's classes (Java) and on bytes recorded from them.

A test here fails when a gap closes: take the entry out of the list, and the oracle judges from then on.
"""

from __future__ import annotations

from tests.protocol.messages.catalogue import Versioned, all_versions
from tests.protocol.messages.oracles import KafkaPython, Kio
from tests.protocol.messages.recordings import recordings

MODULES_IN_NEITHER = frozenset({"metadata_log", "offsets_log", "transactions_log", "quorum_state"})
"""No oracle has records of internal topics, nor the raft voter's state."""

MESSAGES_IN_NEITHER = frozenset(
    {
        "ApiVersionsRequest-v5",
        "ApiVersionsResponse-v5",
        "DeleteGroupsRequest-v3",
        "DeleteGroupsResponse-v3",
        "TxnOffsetCommitRequest-v6",
        "TxnOffsetCommitResponse-v6",
        "UnregisterControllerRequest-v0",
        "UnregisterControllerResponse-v0",
    }
)

APIS_NOT_IN_KAFKA_PYTHON = frozenset(
    {
        "add_raft_voter",
        "allocate_producer_ids",
        "alter_partition",
        "assign_replicas_to_dirs",
        "begin_quorum_epoch",
        "broker_heartbeat",
        "broker_registration",
        "consumer_group_describe",
        "consumer_group_heartbeat",
        "control_records",
        "controller_registration",
        "create_delegation_token",
        "default_principal",
        "describe_delegation_token",
        "end_quorum_epoch",
        "envelope",
        "expire_delegation_token",
        "fetch_snapshot",
        "get_telemetry_subscriptions",
        "push_telemetry",
        "remove_raft_voter",
        "renew_delegation_token",
        "unregister_broker",
        "unregister_controller",
        "update_raft_voter",
        "vote",
    }
)
"""What brokers and controllers say to each other, control records, and some APIs of clients."""


def module_of(subject: Versioned) -> str:
    return subject.message.__module__.rpartition(".")[2]


def gaps() -> list[Versioned]:
    oracles = (Kio(), KafkaPython())
    return [subject for subject in all_versions() if not any(oracle.has(subject) for oracle in oracles)]


def test_nothing_but_the_known_gaps_is_without_an_oracle() -> None:
    expected = [
        subject
        for subject in all_versions()
        if module_of(subject) in MODULES_IN_NEITHER or str(subject) in MESSAGES_IN_NEITHER
    ]
    assert [str(subject) for subject in gaps()] == [str(subject) for subject in expected]


def test_kafka_python_lacks_the_messages_between_nodes_and_no_others() -> None:
    oracle = KafkaPython()
    lacking = {module_of(s) for s in all_versions() if not oracle.has(s) and str(s) not in MESSAGES_IN_NEITHER}
    whole = {module_of(s) for s in all_versions() if str(s).startswith("UnregisterController")}
    assert (lacking | whole) - MODULES_IN_NEITHER == APIS_NOT_IN_KAFKA_PYTHON


def test_every_gap_is_covered_by_bytes_recorded_from_kafka() -> None:
    recorded = {str(recording.subject) for recording in recordings()}
    assert [str(subject) for subject in gaps() if str(subject) not in recorded] == []
