"""What a controller writes first when it becomes active.

Owns the bootstrap records of an empty log, and the abandoning of a metadata transaction that a former controller left
open (KIP-868). Ours are one atomic batch: a transaction would be a second way to say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blumfeld.cluster.image.features import LATEST_METADATA_VERSION, METADATA_VERSION
from blumfeld.protocol.messages.metadata_log import AbortTransactionRecord, FeatureLevelRecord

if TYPE_CHECKING:
    from blumfeld.cluster.image.image import MetadataImage
    from blumfeld.protocol.schema import Record


def activation_records(image: MetadataImage, *, in_transaction: bool) -> list[Record]:
    """The records that make the log fit to go on with; none as a rule."""
    records: list[Record] = []
    if in_transaction:
        records.append(AbortTransactionRecord(reason="Controller failover"))
    if METADATA_VERSION not in image.features.levels:
        records.append(FeatureLevelRecord(name=METADATA_VERSION, feature_level=LATEST_METADATA_VERSION))
    return records
