"""WriteTxnMarkers (key 27): the coordinator has partition leaders write the outcome (KIP-98)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Bool, Int8, Int16, Int32, Int64, String
from blumfeld.protocol.schema import Request, Response, Struct, field


class WriteTxnMarkersRequest(Request, key=ApiKey.WRITE_TXN_MARKERS, versions="1-2", flexible="1+"):
    """Transactions with their outcome and the partitions to mark.

    Versions: 2 transaction version, which decides how epochs are checked (KIP-1228).
    """

    markers: Array[Marker]

    class Marker(Struct):
        producer_id: Int64
        producer_epoch: Int16
        transaction_result: Bool  # committed, else aborted
        topics: Array[Topic]
        coordinator_epoch: Int32
        transaction_version: Int8 = field(versions="2+", default=0, ignorable=True)

        class Topic(Struct):
            name: String
            partition_indexes: Array[Int32]


class WriteTxnMarkersResponse(Response, key=ApiKey.WRITE_TXN_MARKERS, versions="1-2", flexible="1+"):
    """A result for each partition of each producer."""

    markers: Array[Marker]

    class Marker(Struct):
        producer_id: Int64
        topics: Array[Topic]

        class Topic(Struct):
            name: String
            partitions: Array[Partition]

            class Partition(Struct):
                partition_index: Int32
                error_code: Int16
