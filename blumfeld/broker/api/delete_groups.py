"""DeleteGroups 0–3: delete groups without members, with their offsets (KIP-229)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from blumfeld.protocol.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse

if TYPE_CHECKING:
    from blumfeld.broker.context import Broker, Context, Reply


def delete_groups(broker: Broker, context: Context, request: DeleteGroupsRequest) -> Reply[DeleteGroupsResponse]:
    """Ask each partition's coordinator for its groups; waits for their tombstones to be replicated."""
    replies = broker.groups.delete_groups(request.groups_names)
    answers = [reply for reply in replies if isinstance(reply, DeleteGroupsResponse)]
    return _joined(answers) if len(answers) == len(replies) else _joined_later(replies)


async def _joined_later(replies: list[Reply[DeleteGroupsResponse]]) -> DeleteGroupsResponse:
    return _joined(list(await asyncio.gather(*(_settle(reply) for reply in replies))))


async def _settle(reply: Reply[DeleteGroupsResponse]) -> DeleteGroupsResponse:
    return await reply if isinstance(reply, Awaitable) else reply


def _joined(answers: list[DeleteGroupsResponse]) -> DeleteGroupsResponse:
    return DeleteGroupsResponse(results=[result for answer in answers for result in answer.results])
