"""What consumers say to each other through a classic group: protocol type "consumer".

Brokers carry these bytes without opening them, save where a group's subscribed topics matter. The version
precedes the message (`coordinator_log.decode_versioned`). A newer version is to be read as the highest known.
"""

from __future__ import annotations

from blumfeld.protocol.primitives import Array, Bytes, Int32, String
from blumfeld.protocol.schema import Data, Struct, field


class ConsumerProtocolSubscription(Data, versions="0-3"):
    """What a consumer tells its group's leader when it joins.

    Versions: 1 partitions owned (KIP-429); 2 the generation they are from (KIP-792); 3 rack (KIP-881).
    """

    topics: Array[String]
    user_data: Bytes | None = None
    owned_partitions: Array[TopicPartition] = field(versions="1+", default=[], ignorable=True)
    generation_id: Int32 = field(versions="2+", default=-1, ignorable=True)
    rack_id: String | None = field(versions="3+", default=None, ignorable=True)

    class TopicPartition(Struct):
        topic: String
        partitions: Array[Int32]


class ConsumerProtocolAssignment(Data, versions="0-3"):
    """What the group's leader gives a consumer.

    Versions: all the same: the number follows the subscription's.
    """

    assigned_partitions: Array[TopicPartition]
    user_data: Bytes | None = None

    class TopicPartition(Struct):
        topic: String
        partitions: Array[Int32]
