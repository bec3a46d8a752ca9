"""AlterPartition (56): a leader proposes its partition's in-sync replicas.

Owns the testing of such proposals. Error codes, and what the leader makes of them: NOT_CONTROLLER (we know less than
the leader: try the controller again), FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, INVALID_REQUEST, UNKNOWN_TOPIC_ID
and UNKNOWN_TOPIC_OR_PARTITION (it knows less than we: wait for metadata), INELIGIBLE_REPLICA (fall back to the
committed ISR), NEW_LEADER_ELECTED (done, and it leads no more).

Invariants
- Only the leader of the present leader epoch changes the ISR, and only against the present partition epoch.
- Who joins is registered, unfenced, not shutting down, with its log directory online (KIP-858; Apache Kafka leaves that
  to the leader), and the same incarnation that the leader saw (KIP-903; broker epoch −1 skips that).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blumfeld.cluster.controller.brokers import check_broker_epoch
from blumfeld.cluster.controller.decision import Decision, Turn
from blumfeld.cluster.controller.elections import Placed, acceptable_leader, default_directory
from blumfeld.cluster.controller.partition_change import Election, Target, change_partition
from blumfeld.cluster.image.topics import NO_LEADER_CHANGE, RECOVERED, RECOVERING
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse

if TYPE_CHECKING:
    from blumfeld.cluster.image.cluster import ClusterImage
    from blumfeld.cluster.image.topics import PartitionRegistration
    from blumfeld.protocol.schema import Record

_Proposal = AlterPartitionRequest.Topic.Partition
_Member = AlterPartitionRequest.Topic.Partition.BrokerState
_Answer = AlterPartitionResponse.Topic.Partition


def alter_partition(turn: Turn, request: AlterPartitionRequest) -> Decision[AlterPartitionResponse]:
    """Accept or refuse each proposal of the asking broker."""
    stale = check_broker_epoch(turn, request.broker_id, request.broker_epoch)
    if stale:
        return Decision([], AlterPartitionResponse(error_code=stale, topics=[]))
    records: list[Record] = []
    topics: list[AlterPartitionResponse.Topic] = []
    for wanted in request.topics:
        topic = turn.image.topics.get_by_id(wanted.topic_id)
        answers: list[_Answer] = []
        for proposal in wanted.partitions:
            if topic is None:
                answers.append(_refused(proposal.partition_index, ErrorCode.UNKNOWN_TOPIC_ID))
                continue
            partition = topic.partitions.get(proposal.partition_index)
            if partition is None:
                answers.append(_refused(proposal.partition_index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
                continue
            placed = Placed(topic, proposal.partition_index, partition)
            answers.append(_alter(turn, request.broker_id, placed, proposal, records))
        topics.append(AlterPartitionResponse.Topic(topic_id=wanted.topic_id, partitions=answers))
    response = AlterPartitionResponse(error_code=ErrorCode.NONE, topics=topics)
    return Decision(records, response, atomic=False)


def _refused(index: int, error: ErrorCode) -> _Answer:
    return _Answer(partition_index=index, error_code=error, leader_id=0, leader_epoch=0, isr=[], partition_epoch=0)


def _alter(turn: Turn, broker_id: int, placed: Placed, proposal: _Proposal, records: list[Record]) -> _Answer:
    partition, index = placed.partition, placed.partition_id
    members = _members(proposal)
    error = _why_not(turn.image.cluster, broker_id, partition, proposal, members)
    if error:
        return _refused(index, error)
    cluster = turn.image.cluster
    unclean = turn.settings.configs.unclean_leader_election(turn.image, placed.topic.name)
    change = change_partition(
        partition,
        placed.topic.id,
        index,
        Target(isr=[member.broker_id for member in members], recovery_state=proposal.leader_recovery_state),
        acceptable=acceptable_leader(cluster, partition),
        default_directory=default_directory(cluster),
        election=Election.UNCLEAN if unclean else Election.ONLINE,
    )
    if change is not None:
        records.append(change)
        partition = partition.merge(change)
        if change.leader not in {broker_id, NO_LEADER_CHANGE}:
            # Completing a reassignment may take leadership away: an error and a record at once, so that the asker waits
            # for metadata.
            return _refused(index, ErrorCode.NEW_LEADER_ELECTED)
    return _Answer(
        partition_index=index,
        error_code=ErrorCode.NONE,
        leader_id=partition.leader,
        leader_epoch=partition.leader_epoch,
        isr=list(partition.isr),
        leader_recovery_state=partition.leader_recovery_state,
        partition_epoch=partition.partition_epoch,
    )


def _members(proposal: _Proposal) -> Sequence[_Member]:
    """The proposed ISR; version 2 names brokers without their epochs."""
    return proposal.new_isr_with_epochs or [_Member(broker_id=broker_id) for broker_id in proposal.new_isr]


def _why_not(
    cluster: ClusterImage,
    broker_id: int,
    partition: PartitionRegistration,
    proposal: _Proposal,
    members: Sequence[_Member],
) -> ErrorCode:
    if proposal.leader_epoch > partition.leader_epoch or proposal.partition_epoch > partition.partition_epoch:
        return ErrorCode.NOT_CONTROLLER
    if proposal.leader_epoch < partition.leader_epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if broker_id != partition.leader:
        return ErrorCode.INVALID_REQUEST
    if proposal.partition_epoch < partition.partition_epoch:
        return ErrorCode.INVALID_UPDATE_VERSION
    isr = [member.broker_id for member in members]
    if not isr or len(set(isr)) < len(isr) or not set(isr) <= set(partition.replicas):
        return ErrorCode.INVALID_REQUEST
    if partition.leader not in isr:
        return ErrorCode.INVALID_REQUEST
    if proposal.leader_recovery_state not in {RECOVERED, RECOVERING}:
        return ErrorCode.INVALID_REQUEST
    if proposal.leader_recovery_state == RECOVERING and (len(isr) > 1 or partition.leader_recovery_state == RECOVERED):
        return ErrorCode.INVALID_REQUEST
    if not all(_is_eligible(cluster, partition, member) for member in members):
        return ErrorCode.INELIGIBLE_REPLICA
    return ErrorCode.NONE


def _is_eligible(cluster: ClusterImage, partition: PartitionRegistration, member: _Member) -> bool:
    broker = cluster.brokers.get(member.broker_id)
    return (
        broker is not None
        and broker.active
        and member.broker_epoch in {-1, broker.epoch}
        and broker.has_online_directory(partition.directory(member.broker_id))
    )
