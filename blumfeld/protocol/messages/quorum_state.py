"""The fields of the file `quorum-state`, which holds them as JSON beside `data_version` (KIP-595)."""

from __future__ import annotations

from blumfeld.protocol.primitives import ZERO_UUID, Array, Int32, Int64, String, Uuid
from blumfeld.protocol.schema import Data, Struct, field


class QuorumStateData(Data, versions="0-1", flexible="0+"):
    """What a voter must never forget: its epoch, its vote and the leader.

    Versions: 0 static voters by id (KIP-595); 1 the directory id of the candidate voted for (KIP-853).
    """

    cluster_id: String = field(versions="0", default="")
    leader_id: Int32 = -1
    leader_epoch: Int32 = -1
    voted_id: Int32 = -1
    voted_directory_id: Uuid = field(versions="1+", default=ZERO_UUID)
    applied_offset: Int64 = field(versions="0", default=0)
    current_voters: Array[Voter] | None = field(versions="0", default=[])

    class Voter(Struct):
        voter_id: Int32
