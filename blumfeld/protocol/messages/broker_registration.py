"""BrokerRegistration (key 62): a starting broker makes itself known to the controller (KIP-631)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, Int64, String, UInt16, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class BrokerRegistrationRequest(Request, key=ApiKey.BROKER_REGISTRATION, versions="0-4", flexible="0+"):
    """Incarnation, listeners, features and directories.

    Versions: 1 whether it migrates from ZooKeeper (KIP-866); 2 directory ids (KIP-858); 3 epoch of the
    previous clean shutdown (KIP-966); 4 features whose range starts at 0 (KAFKA-17011).
    """

    broker_id: Int32
    cluster_id: String
    incarnation_id: Uuid
    listeners: Array[Listener]
    features: Array[Feature]
    rack: String | None
    is_migrating_zk_broker: Bool = field(versions="1+", default=False)
    log_dirs: Array[Uuid] = field(versions="2+", default=[], ignorable=True)
    previous_broker_epoch: Int64 = field(versions="3+", default=-1, ignorable=True)

    class Listener(Struct):
        name: String
        host: String
        port: UInt16
        security_protocol: Int16

    class Feature(Struct):
        name: String
        min_supported_version: Int16
        max_supported_version: Int16


class BrokerRegistrationResponse(Response, key=ApiKey.BROKER_REGISTRATION, versions="0-4", flexible="0+"):
    """The broker epoch under which it is known from now on."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    broker_epoch: Int64 = -1
