"""Kafka's error codes, and the exception for a peer that broke the protocol.

Owns one table: code, name, text in our own words, whether a client may simply try again. A refusal is an
`ErrorCode` returned as data. `ProtocolError` means that the peer sent what cannot be understood; its
connection closes.
"""

from __future__ import annotations

from enum import IntEnum


class ProtocolError(Exception):
    """The peer's bytes, or bytes read from a log, do not follow the protocol."""


class ErrorCode(IntEnum):
    """Every error code of Apache Kafka up to 4.4, by Kafka's names. An int wherever a field wants one."""

    text: str
    """What the error means, for a client that shows it."""
    retriable: bool
    """Whether the same request may succeed later, perhaps at another broker or after new metadata."""

    def __new__(cls, code: int, text: str = "", retriable: bool = False) -> ErrorCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.text = text
        member.retriable = retriable
        return member

    UNKNOWN_SERVER_ERROR = -1, "The broker failed in a way that it did not expect."
    NONE = 0, ""
    OFFSET_OUT_OF_RANGE = 1, "The offset is outside the log."
    CORRUPT_MESSAGE = 2, "The records are damaged: a wrong checksum, size or format, or a missing key.", True
    UNKNOWN_TOPIC_OR_PARTITION = 3, "This broker has no such topic or partition.", True
    INVALID_FETCH_SIZE = 4, "The fetch size makes no sense."
    LEADER_NOT_AVAILABLE = 5, "The partition has no leader at the moment; one is being elected.", True
    NOT_LEADER_OR_FOLLOWER = 6, "This broker is not the partition's leader, or not a replica of it.", True
    REQUEST_TIMED_OUT = 7, "The request was not finished in the time it allowed.", True
    BROKER_NOT_AVAILABLE = 8, "The broker is not available."
    REPLICA_NOT_AVAILABLE = 9, "The replica is not available on this broker.", True
    MESSAGE_TOO_LARGE = 10, "The record batch is larger than this topic allows."
    STALE_CONTROLLER_EPOCH = 11, "Another controller has taken over since."
    OFFSET_METADATA_TOO_LARGE = 12, "The metadata committed with an offset is too large."
    NETWORK_EXCEPTION = 13, "The connection broke before the response came.", True
    COORDINATOR_LOAD_IN_PROGRESS = 14, "The coordinator is still loading its state.", True
    COORDINATOR_NOT_AVAILABLE = 15, "There is no coordinator at the moment.", True
    NOT_COORDINATOR = 16, "This broker does not coordinate that group or transaction.", True
    INVALID_TOPIC_EXCEPTION = 17, "The topic's name is not valid, or the operation is not allowed on it."
    RECORD_LIST_TOO_LARGE = 18, "The record batch is larger than a log segment."
    NOT_ENOUGH_REPLICAS = 19, "Too few replicas are in sync; nothing was written.", True
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, "The records were written, but to too few in-sync replicas.", True
    INVALID_REQUIRED_ACKS = 21, "acks must be -1, 0 or 1."
    ILLEGAL_GENERATION = 22, "That is not the group's current generation."
    INCONSISTENT_GROUP_PROTOCOL = 23, "The member shares no protocol with the group's members, or names none."
    INVALID_GROUP_ID = 24, "The group id is not valid."
    UNKNOWN_MEMBER_ID = 25, "The group has no such member."
    INVALID_SESSION_TIMEOUT = (
        26,
        "The session timeout is outside group.min.session.timeout.ms … group.max.session.timeout.ms.",
    )
    REBALANCE_IN_PROGRESS = 27, "The group is rebalancing; the member must join again."
    INVALID_COMMIT_OFFSET_SIZE = 28, "The offset commit is too large."
    TOPIC_AUTHORIZATION_FAILED = 29, "Not authorized for this topic."
    GROUP_AUTHORIZATION_FAILED = 30, "Not authorized for this group."
    CLUSTER_AUTHORIZATION_FAILED = 31, "Not authorized for this cluster."
    INVALID_TIMESTAMP = 32, "A record's timestamp is outside what the topic allows."
    UNSUPPORTED_SASL_MECHANISM = 33, "The broker does not offer that SASL mechanism."
    ILLEGAL_SASL_STATE = 34, "The request does not fit the state of the authentication."
    UNSUPPORTED_VERSION = 35, "The broker does not serve this version of the API."
    TOPIC_ALREADY_EXISTS = 36, "A topic of that name exists."
    INVALID_PARTITIONS = 37, "The number of partitions is not valid."
    INVALID_REPLICATION_FACTOR = 38, "The replication factor is below 1 or above the number of brokers."
    INVALID_REPLICA_ASSIGNMENT = 39, "The assignment of replicas is not valid."
    INVALID_CONFIG = 40, "A configuration value is not valid."
    NOT_CONTROLLER = 41, "This node is not the active controller.", True
    INVALID_REQUEST = 42, "The request contradicts itself or the protocol."
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, "The record format does not support the request."
    POLICY_VIOLATION = 44, "The request does not satisfy the broker's policy."
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, "The producer's sequence number does not follow its last one."
    DUPLICATE_SEQUENCE_NUMBER = 46, "The producer's sequence number was used before."
    INVALID_PRODUCER_EPOCH = 47, "The producer's epoch is older than one already seen."
    INVALID_TXN_STATE = 48, "The transaction's state does not allow this operation."
    INVALID_PRODUCER_ID_MAPPING = 49, "The transactional id belongs to another producer id."
    INVALID_TRANSACTION_TIMEOUT = (
        50,
        "The transaction timeout is not positive or exceeds transaction.max.timeout.ms.",
    )
    CONCURRENT_TRANSACTIONS = 51, "Another operation on this transaction is still running.", True
    TRANSACTION_COORDINATOR_FENCED = 52, "The transaction markers come from a coordinator that was replaced."
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, "Not authorized for this transactional id."
    SECURITY_DISABLED = 54, "The broker has no security features enabled."
    OPERATION_NOT_ATTEMPTED = 55, "Not attempted, because another part of the request failed."
    KAFKA_STORAGE_ERROR = 56, "The broker's disk failed.", True
    LOG_DIR_NOT_FOUND = 57, "The broker has no such log directory."
    SASL_AUTHENTICATION_FAILED = 58, "Authentication failed."
    UNKNOWN_PRODUCER_ID = 59, "Nothing is known of this producer here; its records may have been deleted."
    REASSIGNMENT_IN_PROGRESS = 60, "The partition is being reassigned."
    DELEGATION_TOKEN_AUTH_DISABLED = 61, "Delegation tokens are not enabled."
    DELEGATION_TOKEN_NOT_FOUND = 62, "There is no such delegation token."
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, "The principal neither owns nor may renew the delegation token."
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, "This connection may not ask for delegation tokens."
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, "Not authorized for this delegation token."
    DELEGATION_TOKEN_EXPIRED = 66, "The delegation token has expired."
    INVALID_PRINCIPAL_TYPE = 67, "The principal's type is not supported."
    NON_EMPTY_GROUP = 68, "The group still has members."
    GROUP_ID_NOT_FOUND = 69, "There is no such group."
    FETCH_SESSION_ID_NOT_FOUND = 70, "There is no such fetch session.", True
    INVALID_FETCH_SESSION_EPOCH = 71, "The fetch session's epoch is not the expected one.", True
    LISTENER_NOT_FOUND = 72, "The leader has no listener of the name that this connection uses.", True
    TOPIC_DELETION_DISABLED = 73, "Deleting topics is disabled."
    FENCED_LEADER_EPOCH = 74, "The request's leader epoch is older than the broker's.", True
    UNKNOWN_LEADER_EPOCH = 75, "The request's leader epoch is newer than the broker's.", True
    UNSUPPORTED_COMPRESSION_TYPE = 76, "The client's version cannot read the records' compression."
    STALE_BROKER_EPOCH = 77, "The broker has registered anew since."
    OFFSET_NOT_AVAILABLE = 78, "The new leader does not know its high watermark yet.", True
    MEMBER_ID_REQUIRED = 79, "Join again, with the member id in this response."
    PREFERRED_LEADER_NOT_AVAILABLE = 80, "The preferred leader is not available.", True
    GROUP_MAX_SIZE_REACHED = 81, "The group has as many members as it may have."
    FENCED_INSTANCE_ID = 82, "Another member has registered with this group.instance.id since."
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, "No replica that may become leader is available.", True
    ELECTION_NOT_NEEDED = 84, "The partition's leader is already the right one.", True
    NO_REASSIGNMENT_IN_PROGRESS = 85, "The partition is not being reassigned."
    GROUP_SUBSCRIBED_TO_TOPIC = 86, "The group is subscribed to the topic; its offsets cannot be deleted."
    INVALID_RECORD = 87, "A record does not pass the broker's checks."
    UNSTABLE_OFFSET_COMMIT = 88, "An offset commit belongs to a transaction that has not ended.", True
    THROTTLING_QUOTA_EXCEEDED = 89, "The quota is exceeded; wait before trying again.", True
    PRODUCER_FENCED = 90, "A newer producer uses the same transactional id."
    RESOURCE_NOT_FOUND = 91, "The request names a resource that does not exist."
    DUPLICATE_RESOURCE = 92, "The request names a resource twice."
    UNACCEPTABLE_CREDENTIAL = 93, "The credential does not meet the requirements."
    INCONSISTENT_VOTER_SET = 94, "The sender or the receiver is not one of the voters expected."
    INVALID_UPDATE_VERSION = 95, "The update was made against another version of the state."
    FEATURE_UPDATE_FAILED = 96, "The features could not be updated."
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, "The principal in a forwarded request cannot be read."
    SNAPSHOT_NOT_FOUND = 98, "There is no such snapshot."
    POSITION_OUT_OF_RANGE = 99, "The position is outside the snapshot."
    UNKNOWN_TOPIC_ID = 100, "This broker has no topic of that id.", True
    DUPLICATE_BROKER_REGISTRATION = 101, "Another broker that is alive has registered this id."
    BROKER_ID_NOT_REGISTERED = 102, "No broker of that id is registered."
    INCONSISTENT_TOPIC_ID = 103, "The log's topic id is not the request's.", True
    INCONSISTENT_CLUSTER_ID = 104, "The request is meant for another cluster."
    TRANSACTIONAL_ID_NOT_FOUND = 105, "There is no such transactional id."
    FETCH_SESSION_TOPIC_ID_ERROR = 106, "The fetch session mixes topic ids and topic names.", True
    INELIGIBLE_REPLICA = 107, "A replica of the new in-sync set may not be in it."
    NEW_LEADER_ELECTED = 108, "The change was made, and the partition has a new leader."
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, "The offset has moved to tiered storage."
    FENCED_MEMBER_EPOCH = 110, "The member's epoch is fenced; it must give up its partitions and join again."
    UNRELEASED_INSTANCE_ID = 111, "Another member of the group still uses this group.instance.id."
    UNSUPPORTED_ASSIGNOR = 112, "The group does not support that assignor."
    STALE_MEMBER_EPOCH = 113, "The member's epoch is old; it must learn the new one by its heartbeat first."
    MISMATCHED_ENDPOINT_TYPE = 114, "The request went to the wrong kind of endpoint."
    UNSUPPORTED_ENDPOINT_TYPE = 115, "That kind of endpoint is not supported."
    UNKNOWN_CONTROLLER_ID = 116, "There is no controller of that id."
    UNKNOWN_SUBSCRIPTION_ID = 117, "The telemetry subscription is unknown or outdated."
    TELEMETRY_TOO_LARGE = 118, "The telemetry is larger than the broker accepts."
    INVALID_REGISTRATION = 119, "The controller does not accept the broker's registration."
    TRANSACTION_ABORTABLE = 120, "The transaction failed; abort it, and the transactional id can be used on."
    INVALID_RECORD_STATE = 121, "The record's state does not allow that acknowledgement."
    SHARE_SESSION_NOT_FOUND = 122, "There is no such share session.", True
    INVALID_SHARE_SESSION_EPOCH = 123, "The share session's epoch is not the expected one.", True
    FENCED_STATE_EPOCH = 124, "The share group's state has a newer epoch."
    INVALID_VOTER_KEY = 125, "The voter's id and directory are not the receiver's."
    DUPLICATE_VOTER = 126, "That voter is one already."
    VOTER_NOT_FOUND = 127, "There is no such voter."
    INVALID_REGULAR_EXPRESSION = 128, "The regular expression is not valid."
    REBOOTSTRAP_REQUIRED = 129, "The client's metadata is useless; it must start from its bootstrap servers."
    STREAMS_INVALID_TOPOLOGY = 130, "The streams topology is not valid."
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, "The streams topology's epoch is not valid."
    STREAMS_TOPOLOGY_FENCED = 132, "The streams topology's epoch is outdated."
    SHARE_SESSION_LIMIT_REACHED = 133, "The broker has as many share sessions as it may have.", True
