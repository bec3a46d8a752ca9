"""DeleteGroups: several groups, of several partitions."""

from __future__ import annotations

import asyncio

import pytest

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_groups import DeleteGroupsRequest
from tests.broker.api.test_offset_commit import commit
from tests.coordinator.brokers import Brokers


@pytest.mark.parametrize("version", range(4))
async def test_groups_without_members_go(version: int) -> None:
    async with Brokers() as brokers:
        brokers.world.create_topic([1], name="orders")
        await brokers.joined("alive")
        for group_id in ("a", "b", "c"):
            await brokers.call(1, commit(("orders", [0]), group_id=group_id), 9)
        request = DeleteGroupsRequest(groups_names=["a", "alive", "b", "ghost", "c", "a"])
        response = await brokers.call(1, request, version)
        assert sorted((r.group_id, ErrorCode(r.error_code).name) for r in response.results) == [
            ("a", "NONE"),
            ("alive", "NON_EMPTY_GROUP"),
            ("b", "NONE"),
            ("c", "NONE"),
            ("ghost", "GROUP_ID_NOT_FOUND"),
        ]
        assert [g.group_id for g in brokers.groups[1].list_groups([], []).groups] == ["alive"]


async def test_another_broker_says_it_is_not_the_coordinator() -> None:
    async with Brokers(2) as brokers:
        response = await brokers.call(2, DeleteGroupsRequest(groups_names=["a", "b"]), 3)
        assert {r.error_code for r in response.results} == {ErrorCode.NOT_COORDINATOR}


async def test_it_waits_for_replication() -> None:
    async with Brokers(2, replicas=(1, 2)) as brokers:
        brokers.world.create_topic([1], name="orders")
        committing = brokers.start(1, commit(("orders", [0])), 9)
        brokers.replicate()
        await committing
        deleting = brokers.start(1, DeleteGroupsRequest(groups_names=["g", "ghost"]), 3)
        await asyncio.sleep(0)
        assert not deleting.done()
        brokers.replicate()
        assert sorted(r.error_code for r in (await deleting).results) == [0, ErrorCode.GROUP_ID_NOT_FOUND]


async def test_no_groups_at_all() -> None:
    async with Brokers() as brokers:
        assert (await brokers.call(1, DeleteGroupsRequest(groups_names=[]), 3)).results == []
