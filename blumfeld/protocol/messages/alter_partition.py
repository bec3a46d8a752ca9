"""AlterPartition (key 56): a partition leader proposes a new ISR (KIP-497)."""

from __future__ import annotations

from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.primitives import Array, Int8, Int16, Int32, Int64, Uuid
from blumfeld.protocol.schema import Request, Response, Struct, field


class AlterPartitionRequest(Request, key=ApiKey.ALTER_PARTITION, versions="2-3", flexible="0+"):
    """The ISR with the epochs on which the proposal rests. Sent to the controller.

    Versions: 2 topic ids (KIP-841); 3 broker epoch of each ISR member (KIP-903).
    """

    broker_id: Int32
    broker_epoch: Int64 = -1
    topics: Array[Topic]

    class Topic(Struct):
        topic_id: Uuid
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            leader_epoch: Int32
            new_isr: Array[Int32] = field(versions="2", default=[])
            new_isr_with_epochs: Array[BrokerState] = field(versions="3+", default=[])
            leader_recovery_state: Int8 = 0  # 1: recovering after an unclean election
            partition_epoch: Int32

            class BrokerState(Struct):
                broker_id: Int32
                broker_epoch: Int64 = -1


class AlterPartitionResponse(Response, key=ApiKey.ALTER_PARTITION, versions="2-3", flexible="0+"):
    """The state the controller committed."""

    throttle_time_ms: Int32 = 0
    error_code: Int16
    topics: Array[Topic]

    class Topic(Struct):
        topic_id: Uuid
        partitions: Array[Partition]

        class Partition(Struct):
            partition_index: Int32
            error_code: Int16
            leader_id: Int32
            leader_epoch: Int32
            isr: Array[Int32]
            leader_recovery_state: Int8 = 0
            partition_epoch: Int32
