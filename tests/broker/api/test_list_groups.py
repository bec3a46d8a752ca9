"""ListGroups in every version."""

from __future__ import annotations

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.list_groups import ListGroupsRequest
from tests.coordinator.brokers import Brokers


@pytest.mark.parametrize("version", range(6))
async def test_all_groups_of_all_partitions(version: int) -> None:
    async with Brokers() as brokers:
        for name in ("a", "b", "c", "d"):
            await brokers.joined(name)
        response = brokers.start(1, ListGroupsRequest(), version)
        assert response.error_code == ErrorCode.NONE
        assert {g.group_id: g.protocol_type for g in response.groups} == dict.fromkeys("abcd", "consumer")
        assert {g.group_state for g in response.groups} == {"Stable" if version >= 4 else ""}
        assert {g.group_type for g in response.groups} == {"classic" if version >= 5 else ""}


async def test_filters() -> None:
    async with Brokers() as brokers:
        await brokers.joined("a")
        for states, types, found in ((["Empty"], [], 0), (["stable"], ["CLASSIC"], 1), ([], ["share"], 0)):
            request = ListGroupsRequest(states_filter=states, types_filter=types)
            assert len(brokers.start(1, request, 5).groups) == found


async def test_a_broker_lists_what_it_coordinates() -> None:
    async with Brokers(2) as brokers:
        await brokers.joined("a")
        assert brokers.start(2, ListGroupsRequest(), 5).groups == []
