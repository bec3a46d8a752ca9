"""ApiVersions 0–5: what this broker serves (KIP-35, KIP-511 software names, KIP-482/584 features).

A version that is not known here is answered with a version-0 body and UNSUPPORTED_VERSION that lists this API's own
range, so that the client can try again. Differs from Apache Kafka: no telemetry, hence no entries for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blumfeld.broker.context import Broker, Context
    from blumfeld.broker.dispatch import Api

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def api_versions(broker: Broker, context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """Announce the table, and the finalized features of the current image."""
    from blumfeld.broker.table import SERVED

    response = announce(SERVED.values(), context, request)
    if response.error_code == ErrorCode.NONE:
        add_features(response, broker.image.features.levels, broker.image.offset)
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
    return ApiVersionsResponse.ApiVersion(
        api_key=api.key, min_version=api.first_version, max_version=api.last_version
    )
