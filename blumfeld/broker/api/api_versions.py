"""ApiVersions 0–5: what this broker serves (KIP-35, KIP-511 software names, KIP-482/584 features).

A version that is not known here is answered with a version-0 body and UNSUPPORTED_VERSION that lists this API's own
range, so that the client can try again. Differs from Apache Kafka: no telemetry, hence no entries for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blumfeld.cluster.image.features import (
    KRAFT_VERSION,
    LATEST_METADATA_VERSION,
    METADATA_VERSION,
    MINIMUM_METADATA_VERSION,
)
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blumfeld.broker.context import Broker, Context
    from blumfeld.broker.dispatch import Api

SUPPORTED_FEATURES = {
    METADATA_VERSION: (MINIMUM_METADATA_VERSION, LATEST_METADATA_VERSION),
    KRAFT_VERSION: (0, 1),
}

KRAFT_VERSION_LEVEL = 1
"""Our quorums keep their voters in the log (KIP-853); the level is raft's, so no metadata record tells it."""

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def api_versions(broker: Broker, context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """Announce the table, and the finalized features of the current image."""
    from blumfeld.broker.table import SERVED

    response = announce(SERVED.values(), context, request)
    if response.error_code == ErrorCode.NONE:
        add_features(response, broker.image.features.levels, broker.image.offset, context.api_version)
    return response


def announce(served: Iterable[Api], context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """The versions of `served`, or the error that this request earns."""
    version = context.api_version
    rows = {api.key: api for api in served}
    own = rows[ApiKey.API_VERSIONS]
    if not own.first_version <= version <= own.last_version:
        return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[_row(own)])
    if version >= 3 and not (
        _SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST, api_keys=[])
    return ApiVersionsResponse(error_code=ErrorCode.NONE, api_keys=[_row(api) for api in rows.values()])


def _row(api: Api) -> ApiVersionsResponse.ApiVersion:
    return ApiVersionsResponse.ApiVersion(api_key=api.key, min_version=api.first_version, max_version=api.last_version)


def add_features(response: ApiVersionsResponse, levels: Mapping[str, int], epoch: int, version: int) -> None:
    """What this software supports, and what the cluster has finalized (KIP-584)."""
    response.supported_features = [
        ApiVersionsResponse.SupportedFeature(name=name, min_version=lowest, max_version=highest)
        for name, (lowest, highest) in SUPPORTED_FEATURES.items()
        if lowest > 0 or version >= 4  # ranges from 0 break older clients (KAFKA-17011)
    ]
    response.finalized_features_epoch = epoch
    levels = {KRAFT_VERSION: KRAFT_VERSION_LEVEL, **levels}
    response.finalized_features = [
        ApiVersionsResponse.FinalizedFeature(name=name, max_version_level=level, min_version_level=level)
        for name, level in levels.items()
    ]
