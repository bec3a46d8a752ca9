"""UpdateFeatures (key 57): raise or lower finalized features (KIP-584)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class UpdateFeaturesRequest(Request, key=ApiKey.UPDATE_FEATURES, versions="0-2", flexible="0+"):
    """Features with their new maximum level; 0 removes a feature.

    Versions: 1 upgrade types and a dry run (KIP-778).
    """

    timeout_ms: Int32 = 60000
    feature_updates: Array[FeatureUpdate]
    validate_only: Bool = field(versions="1+", default=False)

    class FeatureUpdate(Struct):
        feature: String
        max_version_level: Int16
        allow_downgrade: Bool = field(versions="0", default=False)
        upgrade_type: Int8 = field(versions="1+", default=1)


class UpdateFeaturesResponse(Response, key=ApiKey.UPDATE_FEATURES, versions="0-2", flexible="0+"):
    """Whether the update was done; from version 2 on one result for all.

    Versions: 2 drops results per feature (KIP-1022).
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    results: Array[Result] = field(versions="0-1", default=[], ignorable=True)

    class Result(Struct):
        feature: String
        error_code: Int16
        error_message: String | None
