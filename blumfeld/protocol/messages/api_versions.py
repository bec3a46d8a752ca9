"""ApiVersions (key 18): which APIs and features this node serves."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class ApiVersionsRequest(Request, key=ApiKey.API_VERSIONS, versions="0-5", flexible="3+"):
    """Asked first on a connection. An unsupported version is answered with a version-0 body.

    Versions: 3 client software (KIP-511); 4 features whose range starts at 0 (KAFKA-17011); 5 the cluster
    and node the client means to reach (KIP-1242).
    """

    client_software_name: String = field(versions="3+", default="", ignorable=True)
    client_software_version: String = field(versions="3+", default="", ignorable=True)
    cluster_id: String | None = field(versions="5+", default=None, ignorable=True)
    node_id: Int32 = field(versions="5+", default=-1, ignorable=True)


class ApiVersionsResponse(Response, key=ApiKey.API_VERSIONS, versions="0-5", flexible="3+"):
    """Version ranges of APIs, and of features supported and finalized. Its header is always version 0.

    Versions: 1 throttle time; 3 features as tagged fields (KIP-584); 4 features whose range starts at 0 are
    no longer left out (KAFKA-17011); 5 REBOOTSTRAP_REQUIRED (KIP-1242).
    """

    error_code: Int16
    api_keys: Array[ApiVersion]
    throttle_time_ms: Int32 = field(versions="1+", default=0, ignorable=True)
    supported_features: Array[SupportedFeature] = field(versions="3+", tag=0, default=[], ignorable=True)
    finalized_features_epoch: Int64 = field(versions="3+", tag=1, default=-1, ignorable=True)
    finalized_features: Array[FinalizedFeature] = field(versions="3+", tag=2, default=[], ignorable=True)
    zk_migration_ready: Bool = field(versions="3+", tag=3, default=False, ignorable=True)

    class ApiVersion(Struct):
        api_key: Int16
        min_version: Int16
        max_version: Int16

    class SupportedFeature(Struct):
        name: String
        min_version: Int16
        max_version: Int16

    class FinalizedFeature(Struct):
        name: String
        max_version_level: Int16
        min_version_level: Int16
