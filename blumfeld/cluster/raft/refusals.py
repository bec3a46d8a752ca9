"""Changes of the voter set, which are not supported yet: the answers that say so.

Owns the refusals of AddRaftVoter, RemoveRaftVoter and UpdateRaftVoter (KIP-853). Nothing else in raft assumes that the
voter set is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Request, Response

_TEXT = "the voters of this cluster are fixed"


def refuse_voter_change(request: Request) -> Response | None:
    """UNSUPPORTED_VERSION where `request` would change the voters; None for any other request."""
    match request.KEY:
        case ApiKey.ADD_RAFT_VOTER:
            from blumfeld.protocol.messages.add_raft_voter import AddRaftVoterResponse

            return AddRaftVoterResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=_TEXT)
        case ApiKey.REMOVE_RAFT_VOTER:
            from blumfeld.protocol.messages.remove_raft_voter import RemoveRaftVoterResponse

            return RemoveRaftVoterResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=_TEXT)
        case ApiKey.UPDATE_RAFT_VOTER:
            from blumfeld.protocol.messages.update_raft_voter import UpdateRaftVoterResponse

            return UpdateRaftVoterResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
        case _:
            return None
