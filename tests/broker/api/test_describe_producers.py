"""DescribeProducers: who writes to a partition."""

from __future__ import annotations

import pytest

from blumfeld.broker.api.describe_producers import describe_producers
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.describe_producers import DescribeProducersRequest
from tests.cluster.world import World, context


@pytest.fixture
def world() -> World:
    return World(2)


def test_active_producers_of_a_partition(world: World) -> None:
    world.create_topic([1, 2])
    world[1].produce("a", "b", producer_id=42, producer_epoch=3, base_sequence=0)
    request = DescribeProducersRequest(topics=[DescribeProducersRequest.Topic(name="t", partition_indexes=[0, 5])])
    response = describe_producers(world[1].broker, context(ApiKey.DESCRIBE_PRODUCERS, 0), request)
    known, unknown = response.topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (42, 3, 1)
    assert producer.current_txn_start_offset == -1
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    response = describe_producers(world[2].broker, context(ApiKey.DESCRIBE_PRODUCERS, 0), request)
    assert response.topics[0].partitions[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
