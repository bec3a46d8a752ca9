"""UpdateFeatures (57): finalized feature levels move (KIP-584, KIP-778, KIP-1022).

Owns which moves are allowed. Invariants: a level is finalized only if this controller, every registered broker and
every registered controller support it, and no voter is missing among the registered ones; metadata.version goes down
only as far as the format of records stays the same; one refusal refuses the whole request.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.controller.decision import NO_ERROR, ApiError, Decision, Turn
from blumfeld.cluster.image.cluster import VersionRange
from blumfeld.cluster.image.features import KRAFT_VERSION, METADATA_VERSION
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.metadata_log import FeatureLevelRecord
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest, UpdateFeaturesResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blumfeld.protocol.schema import Record

_OFF: Final = VersionRange(0, 0)
_FINALIZED_KRAFT_VERSION: Final = 1
_CHANGED_RECORDS: Final = frozenset({17, 23})
"""Metadata versions, from our lowest on, at which records changed: no way back past them without loss."""


class UpgradeType(IntEnum):
    """What the asker says it wants to do."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


def update_features(turn: Turn, request: UpdateFeaturesRequest) -> Decision[UpdateFeaturesResponse]:
    """Move all the features named, or none."""
    records: list[Record] = []
    for update in request.feature_updates:
        upgrade_type = update.upgrade_type
        if turn.context.api_version == 0 and update.allow_downgrade:
            upgrade_type = UpgradeType.SAFE_DOWNGRADE
        error = _update(turn, update.feature, update.max_version_level, upgrade_type, records)
        if error.is_failure:
            message = f"The update failed for all features since the following feature had an error: {error.message}"
            return Decision([], UpdateFeaturesResponse(error_code=error.code, error_message=message))
    results = [
        UpdateFeaturesResponse.Result(feature=update.feature, error_code=ErrorCode.NONE, error_message=None)
        for update in request.feature_updates
        if turn.context.api_version <= 1
    ]
    response = UpdateFeaturesResponse(error_code=ErrorCode.NONE, error_message=None, results=results)
    return Decision([] if request.validate_only else records, response)


def _update(turn: Turn, feature: str, level: int, upgrade_type: int, records: list[Record]) -> ApiError:
    def refused(reason: str) -> ApiError:
        message = f"Invalid update version {level} for feature {feature}. {reason}"
        return ApiError(ErrorCode.INVALID_UPDATE_VERSION, message)

    if upgrade_type not in UpgradeType.__members__.values():
        return refused("The controller does not support the given upgrade type.")
    present = _present_level(turn, feature)
    if level < 0:
        return refused("A feature version cannot be less than 0.")
    reason = _why_not_supported(turn, feature, level)
    if reason is not None:
        return refused(reason)
    if level < present and upgrade_type == UpgradeType.UPGRADE:
        return refused(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or"
            " unsafe downgrade."
        )
    if level > present and upgrade_type != UpgradeType.UPGRADE:
        return refused("Can't downgrade to a newer version.")
    if feature == KRAFT_VERSION:
        return NO_ERROR if level == present else refused("Can't downgrade the version of this feature.")
    if feature == METADATA_VERSION and level < present:
        error = _why_not_downgrade(present, level, upgrade_type)
        if error is not None:
            return error
    records.append(FeatureLevelRecord(name=feature, feature_level=level))
    return NO_ERROR


def _present_level(turn: Turn, feature: str) -> int:
    if feature == METADATA_VERSION:
        return turn.image.features.metadata_version
    return _FINALIZED_KRAFT_VERSION if feature == KRAFT_VERSION else turn.image.features.level(feature)


def _why_not_supported(turn: Turn, feature: str, level: int) -> str | None:
    for who, supported in _everybody(turn):
        levels = supported.get(feature, _OFF)
        if level not in levels:
            if levels.high == 0:
                return f"{who} does not support this feature."
            shown = str(levels.low) if levels.low == levels.high else f"{levels.low}-{levels.high}"
            return f"{who} only supports versions {shown}"
    missing = sorted(turn.settings.voter_ids - set(turn.image.cluster.controllers) - {turn.settings.node_id})
    if missing:
        return f"controller {missing[0]} has not registered, and may not support this feature"
    return None


def _everybody(turn: Turn) -> Iterator[tuple[str, Mapping[str, VersionRange]]]:
    own_id = turn.settings.node_id
    yield f"Local controller {own_id}", turn.settings.features
    for broker in turn.image.cluster.brokers.values():
        yield f"Broker {broker.id}", broker.features
    for controller in turn.image.cluster.controllers.values():
        if controller.id != own_id:
            yield f"Controller {controller.id}", controller.features


def _why_not_downgrade(present: int, level: int, upgrade_type: int) -> ApiError | None:
    if not any(level < changed <= present for changed in _CHANGED_RECORDS):
        return None
    if upgrade_type == UpgradeType.UNSAFE_DOWNGRADE:
        reason = "Unsafe metadata downgrade is not supported in this version."
    else:
        reason = "Refusing to perform the requested downgrade because it might delete metadata information."
    return ApiError(
        ErrorCode.INVALID_UPDATE_VERSION,
        f"Unsupported metadata.version downgrade from {present} to {level}. {reason}",
    )
