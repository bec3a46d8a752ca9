"""Control records: what the log says about itself, between the records of users.

Their type is in the record's key (`records.ControlType`). Transaction markers end a producer's transaction in
any partition; the others occur in raft logs and snapshots.
"""

from __future__ import annotations

from blumfeld.protocol.primitives import ZERO_UUID, Array, Int16, Int32, Int64, String, UInt16, Uuid
from blumfeld.protocol.schema import Data, Struct, field


class EndTxnMarker(Data, versions="0"):
    """Types 0 (abort) and 1 (commit): a transaction ended in this partition (KIP-98).

    Its version precedes it.
    """

    coordinator_epoch: Int32


class LeaderChangeMessage(Data, versions="0-1", flexible="0+"):
    """Type 2: a raft epoch begins, with these voters (KIP-595).

    Versions: 1 directory ids of voters (KIP-853). Write version 0: readers decode no other, and a version 1
    bricks them.
    """

    version: Int16
    leader_id: Int32
    voters: Array[Voter]
    granting_voters: Array[Voter]

    class Voter(Struct):
        voter_id: Int32
        voter_directory_id: Uuid = field(versions="1+", default=ZERO_UUID)


class SnapshotHeaderRecord(Data, versions="0", flexible="0+"):
    """Type 3: the first record of a snapshot (KIP-630)."""

    version: Int16
    last_contained_log_timestamp: Int64


class SnapshotFooterRecord(Data, versions="0", flexible="0+"):
    """Type 4: the last record of a snapshot (KIP-630)."""

    version: Int16


class KRaftVersionRecord(Data, versions="0", flexible="0+"):
    """Type 5: the quorum's kraft.version from here on (KIP-853)."""

    version: Int16
    kraft_version: Int16


class VotersRecord(Data, versions="0", flexible="0+"):
    """Type 6: the quorum's voters from here on, in force when appended (KIP-853)."""

    version: Int16
    voters: Array[Voter]

    class Voter(Struct):
        voter_id: Int32
        voter_directory_id: Uuid
        endpoints: Array[Endpoint]
        kraft_version_feature: KRaftVersionFeature

        class Endpoint(Struct):
            name: String
            host: String
            port: UInt16

        class KRaftVersionFeature(Struct):
            min_supported_version: Int16
            max_supported_version: Int16
