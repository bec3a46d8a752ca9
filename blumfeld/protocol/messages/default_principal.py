"""The principal of a forwarded request, in Envelope's `request_principal`; its version precedes it."""

from __future__ import annotations

from blumfeld.protocol.primitives import Bool, String
from blumfeld.protocol.schema import Data


class DefaultPrincipalData(Data, versions="0", flexible="0+"):
    """A principal as the default builder of Kafka serializes it."""

    type: String
    name: String
    token_authenticated: Bool
