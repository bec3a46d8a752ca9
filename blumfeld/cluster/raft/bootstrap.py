"""What a formatted controller directory starts from: checkpoint 0-0 with kraft.version 1 and the voter set.

Owns the making of that one file. The first leader writes its contents into the log again, beside its LeaderChange,
since observers never receive this checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.cluster.raft import checkpoint
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT
from blumfeld.env.disk import make_durable_directories

if TYPE_CHECKING:
    from blumfeld.cluster.raft.voters import VoterSet
    from blumfeld.env.disk import Disk


def write_bootstrap_checkpoint(disk: Disk, directory: str, voters: VoterSet, *, now_ms: int) -> None:
    """Write checkpoint 0-0 into `directory` (that of `__cluster_metadata-0`; made where it is missing).

    Durable on return.
    """
    make_durable_directories(disk, directory)
    contents = checkpoint.Contents(voters, 1, 0, ())
    checkpoint.write(disk, directory, BOOTSTRAP_SNAPSHOT, contents, now_ms=now_ms)
