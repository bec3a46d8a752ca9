"""Batches of the metadata log: made, and looked into as far as raft must.

Owns the way from the core's words to record batches and back: data batches whose records are opaque values, the control
batch that opens an epoch, and the voters and kraft.version that control batches carry (KIP-853).

Trap: LeaderChange is written in version 0. Its schema lists version 1 too, but readers decode no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blumfeld.cluster.raft.events import AppendEpochStart
from blumfeld.cluster.raft.listener import CommittedBatch
from blumfeld.cluster.raft.messages import BatchInfo
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from blumfeld.protocol.batch import CorruptBatch, RecordBatch, iterate_batches
from blumfeld.protocol.messages.control_records import KRaftVersionRecord, LeaderChangeMessage, VotersRecord
from blumfeld.protocol.primitives import Buffer
from blumfeld.protocol.records import (
    ControlType,
    Record,
    build_batch,
    control_batch,
    read_control_records,
    read_records,
)

RECORD_VERSION = 0


def data_batch(batch: BatchInfo, records: Sequence[bytes], *, timestamp_ms: int) -> bytes:
    """The state machine's records as one batch at its place."""
    base = batch.base_offset
    return build_batch(
        [Record(base + index, timestamp_ms, None, value) for index, value in enumerate(records)],
        base_offset=base,
        leader_epoch=batch.epoch,
    )


def epoch_start_batch(effect: AppendEpochStart, *, timestamp_ms: int) -> bytes:
    """The control batch that opens an epoch: LeaderChange, and KRaftVersion and Voters where the core wants them."""
    change = LeaderChangeMessage(
        version=RECORD_VERSION,
        leader_id=effect.leader_id,
        voters=[LeaderChangeMessage.Voter(voter_id=voter_id) for voter_id in effect.voter_ids],
        granting_voters=[LeaderChangeMessage.Voter(voter_id=voter_id) for voter_id in effect.granting_ids],
    )
    controls = [(ControlType.LEADER_CHANGE, change.encode(RECORD_VERSION))]
    batch = effect.batch
    if batch.voters is not None and batch.kraft_version is not None:
        controls += voter_controls(batch.voters, batch.kraft_version)
    return control_batch(controls, base_offset=batch.base_offset, timestamp=timestamp_ms, leader_epoch=batch.epoch)


def voter_controls(voters: VoterSet, kraft_version: int) -> list[tuple[ControlType, bytes]]:
    """KRaftVersion and Voters, to go into a control batch."""
    version = KRaftVersionRecord(version=RECORD_VERSION, kraft_version=kraft_version)
    return [
        (ControlType.KRAFT_VERSION, version.encode(RECORD_VERSION)),
        (ControlType.KRAFT_VOTERS, _voters_record(voters).encode(RECORD_VERSION)),
    ]


def inspect(records: Buffer) -> Iterator[BatchInfo]:
    """What the core must know of fetched batches, in order. Raises CorruptBatch; a cut last batch is left out."""
    for batch in iterate_batches(records, torn_tail=True):
        if not batch.is_valid_crc():
            raise CorruptBatch(f"{batch!r} has a wrong CRC")
        yield info_of(batch)


def info_of(batch: RecordBatch) -> BatchInfo:
    """A batch's place, and the voters and kraft.version it carries."""
    voters, kraft_version = voters_in(batch) if batch.is_control else (None, None)
    return BatchInfo(batch.base_offset, batch.last_offset, batch.leader_epoch, batch.length, voters, kraft_version)


def voters_in(batch: RecordBatch) -> tuple[VoterSet | None, int | None]:
    """The last voters and kraft.version among a control batch's records."""
    voters: VoterSet | None = None
    kraft_version: int | None = None
    for record, kind in read_control_records(batch):
        if kind is ControlType.KRAFT_VOTERS:
            voters = _voters_of(VotersRecord.decode(record.value or b"", RECORD_VERSION))
        elif kind is ControlType.KRAFT_VERSION:
            kraft_version = KRaftVersionRecord.decode(record.value or b"", RECORD_VERSION).kraft_version
    return voters, kraft_version


def committed_batches(records: Buffer) -> list[CommittedBatch]:
    """Batches for the listeners; control batches come without records."""
    return [
        CommittedBatch(
            batch.base_offset,
            batch.last_offset,
            batch.leader_epoch,
            batch.max_timestamp,
            () if batch.is_control else [record.value or b"" for record in read_records(batch)],
            batch.length,
        )
        for batch in iterate_batches(records)
    ]


def _voters_record(voters: VoterSet) -> VotersRecord:
    feature = VotersRecord.Voter.KRaftVersionFeature
    endpoint = VotersRecord.Voter.Endpoint
    return VotersRecord(
        version=RECORD_VERSION,
        voters=[
            VotersRecord.Voter(
                voter_id=voter.id,
                voter_directory_id=voter.key.directory_id,
                endpoints=[endpoint(name=end.name, host=end.host, port=end.port) for end in voter.endpoints],
                kraft_version_feature=feature(
                    min_supported_version=voter.min_version, max_supported_version=voter.max_version
                ),
            )
            for voter in voters
        ],
    )


def _voters_of(record: VotersRecord) -> VoterSet:
    return VoterSet(
        Voter(
            ReplicaKey(voter.voter_id, voter.voter_directory_id),
            tuple(Endpoint(end.name, end.host, end.port) for end in voter.endpoints),
            voter.kraft_version_feature.min_supported_version,
            voter.kraft_version_feature.max_supported_version,
        )
        for voter in record.voters
    )
