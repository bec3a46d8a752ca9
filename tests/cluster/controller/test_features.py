"""UpdateFeatures, controller registration, producer ids, activation."""

from __future__ import annotations

from typing import Any

import pytest

from blumfeld.cluster.controller.activation import activation_records
from blumfeld.cluster.image.image import EMPTY_IMAGE
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.allocate_producer_ids import AllocateProducerIdsRequest
from blumfeld.protocol.messages.controller_registration import ControllerRegistrationRequest
from blumfeld.protocol.messages.metadata_log import AbortTransactionRecord, FeatureLevelRecord
from blumfeld.protocol.messages.update_features import UpdateFeaturesRequest
from tests.cluster.controller.story import Controller, uuid

UPGRADE, SAFE, UNSAFE = 1, 2, 3


def update(controller: Controller, *changes: tuple[str, int, int], **more: Any) -> tuple[ErrorCode, str | None]:
    version = more.pop("version", None)
    request = UpdateFeaturesRequest(
        feature_updates=[
            UpdateFeaturesRequest.FeatureUpdate(feature=name, max_version_level=level, upgrade_type=kind)
            for name, level, kind in changes
        ],
        **more,
    )
    response = controller.send(request, version)
    return ErrorCode(response.error_code), response.error_message


def test_metadata_version_goes_down_as_far_as_records_stay_the_same() -> None:
    controller = Controller().with_brokers(1)
    assert update(controller, ("metadata.version", 23, SAFE)) == (ErrorCode.NONE, None)
    assert controller.image.features.metadata_version == 23
    assert update(controller, ("metadata.version", 25, UPGRADE)) == (ErrorCode.NONE, None)
    error, message = update(controller, ("metadata.version", 22, SAFE))
    assert error is ErrorCode.INVALID_UPDATE_VERSION
    assert message == (
        "The update failed for all features since the following feature had an error: Unsupported metadata.version"
        " downgrade from 25 to 22. Refusing to perform the requested downgrade because it might delete metadata"
        " information."
    )
    assert "Unsafe metadata downgrade" in str(update(controller, ("metadata.version", 20, UNSAFE))[1])


REFUSED = {
    "unknown type": (("metadata.version", 24, 7), "The controller does not support the given upgrade type."),
    "negative": (("metadata.version", -1, SAFE), "A feature version cannot be less than 0."),
    "not supported here": (("metadata.version", 26, UPGRADE), "Local controller 9 only supports versions 17-25"),
    "unknown feature": (("share.version", 1, UPGRADE), "Local controller 9 does not support this feature."),
    "down as up": (
        ("metadata.version", 24, UPGRADE),
        (
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe"
            " downgrade."
        ),
    ),
    "kraft down": (("kraft.version", 0, SAFE), "Can't downgrade the version of this feature."),
    "not supported there": (("kraft.version", 1, UPGRADE), "Broker 2 does not support this feature."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_updates_refused(case: str) -> None:
    controller = Controller().with_brokers(1, features={"metadata.version": (7, 30), "kraft.version": (0, 1)})
    if case == "not supported there":
        controller.with_brokers(2)
    change, reason = REFUSED[case]
    error, message = update(controller, change)
    assert error is ErrorCode.INVALID_UPDATE_VERSION
    assert str(message).endswith(f"Invalid update version {change[1]} for feature {change[0]}. {reason}")


def test_up_as_down_is_refused() -> None:
    controller = Controller().with_brokers(1)
    update(controller, ("metadata.version", 24, SAFE))
    assert str(update(controller, ("metadata.version", 25, SAFE))[1]).endswith("Can't downgrade to a newer version.")


def test_every_voter_must_have_registered() -> None:
    controller = Controller(voter_ids=(8, 9)).with_brokers(1)
    error, message = update(controller, ("metadata.version", 24, SAFE))
    assert error is ErrorCode.INVALID_UPDATE_VERSION
    assert str(message).endswith("controller 8 has not registered, and may not support this feature")
    register_controller(controller, 8, (7, 23))
    assert str(update(controller, ("metadata.version", 24, SAFE))[1]).endswith(
        "Controller 8 only supports versions 7-23"
    )
    register_controller(controller, 8, (7, 30))
    assert update(controller, ("metadata.version", 24, SAFE))[0] is ErrorCode.NONE


def test_a_dry_run_and_an_error_in_one_feature_write_nothing() -> None:
    controller = Controller().with_brokers(1)
    assert update(controller, ("metadata.version", 24, SAFE), validate_only=True)[0] is ErrorCode.NONE
    assert controller.written == []
    assert update(controller, ("metadata.version", 24, SAFE), ("nonsense", 1, UPGRADE))[0] is not ErrorCode.NONE
    assert controller.written == []


def test_older_askers_are_told_of_each_feature_and_the_oldest_downgrade_by_a_flag() -> None:
    controller = Controller().with_brokers(1)
    request = UpdateFeaturesRequest(
        feature_updates=[
            UpdateFeaturesRequest.FeatureUpdate(feature="metadata.version", max_version_level=24, allow_downgrade=True)
        ]
    )
    response = controller.send(request, version=0)
    assert [(r.feature, r.error_code) for r in response.results] == [("metadata.version", ErrorCode.NONE)]
    assert controller.image.features.metadata_version == 24


def register_controller(controller: Controller, node_id: int, levels: tuple[int, int]) -> None:
    response = controller.send(
        ControllerRegistrationRequest(
            controller_id=node_id,
            incarnation_id=uuid(node_id),
            zk_migration_ready=False,
            listeners=[
                ControllerRegistrationRequest.Listener(name="CONTROLLER", host="h", port=1, security_protocol=0)
            ],
            features=[
                ControllerRegistrationRequest.Feature(
                    name="metadata.version", min_supported_version=levels[0], max_supported_version=levels[1]
                )
            ],
        )
    )
    assert response.error_code == ErrorCode.NONE


def test_controllers_are_known_by_their_endpoints() -> None:
    controller = Controller()
    register_controller(controller, 8, (7, 30))
    known = controller.image.cluster.controllers[8]
    assert (known.incarnation_id, known.listeners["CONTROLLER"].port) == (uuid(8), 1)


def test_producer_ids_come_in_blocks_that_never_overlap() -> None:
    controller = Controller().with_brokers(1, 2)
    starts = []
    for broker_id in (1, 2, 1):
        request = AllocateProducerIdsRequest(broker_id=broker_id, broker_epoch=controller.epoch_of(broker_id))
        response = controller.send(request)
        assert (response.error_code, response.producer_id_len) == (ErrorCode.NONE, 1000)
        starts.append(response.producer_id_start)
    assert starts == [0, 1000, 2000]
    stale = controller.send(AllocateProducerIdsRequest(broker_id=1, broker_epoch=0))
    assert stale.error_code == ErrorCode.STALE_BROKER_EPOCH


def test_an_empty_log_begins_with_the_metadata_version() -> None:
    [record] = activation_records(EMPTY_IMAGE, in_transaction=False)
    assert record == FeatureLevelRecord(name="metadata.version", feature_level=25)
    assert activation_records(Controller().image, in_transaction=False) == []
    assert isinstance(activation_records(Controller().image, in_transaction=True)[0], AbortTransactionRecord)
