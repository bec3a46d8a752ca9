"""DeleteTopics (20).

Owns the resolving of names and ids, each of which may be given once. A topic's partitions and configs go with its one
record.
"""

from __future__ import annotations

from collections import Counter

from blumfeld.cluster.controller.decision import NO_ERROR, ApiError, Decision, Turn
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from blumfeld.protocol.messages.metadata_log import RemoveTopicRecord
from blumfeld.protocol.primitives import ZERO_UUID


def delete_topics(turn: Turn, request: DeleteTopicsRequest) -> Decision[DeleteTopicsResponse]:
    """Delete topics by name, from version 6 on also by id (KIP-516)."""
    wanted = [DeleteTopicsRequest.Topic(name=name, topic_id=ZERO_UUID) for name in request.topic_names]
    wanted.extend(request.topics)
    if not turn.settings.delete_topics_enabled:
        refusal = _disabled(turn.context.api_version)
        return Decision([], DeleteTopicsResponse(responses=[_answer(t.name, t.topic_id, refusal) for t in wanted]))
    resolver = _Resolver(turn, wanted)
    resolver.resolve()
    responses = resolver.refused
    responses.extend(_answer(name, topic_id, NO_ERROR) for topic_id, name in resolver.doomed.items())
    return Decision(
        [RemoveTopicRecord(topic_id=topic_id) for topic_id in resolver.doomed],
        DeleteTopicsResponse(responses=responses),
    )


def _disabled(api_version: int) -> ApiError:
    if api_version < 3:
        return ApiError(ErrorCode.INVALID_REQUEST, "This version does not support topic deletion.")
    return ApiError.of(ErrorCode.TOPIC_DELETION_DISABLED)


def _answer(name: str | None, topic_id: bytes, error: ApiError) -> DeleteTopicsResponse.Topic:
    return DeleteTopicsResponse.Topic(name=name, topic_id=topic_id, error_code=error.code, error_message=error.message)


class _Resolver:
    """Sorts what was asked for into topics to delete and refusals."""

    def __init__(self, turn: Turn, wanted: list[DeleteTopicsRequest.Topic]) -> None:
        self._topics = turn.image.topics
        self._wanted = wanted
        self.refused: list[DeleteTopicsResponse.Topic] = []
        self.doomed: dict[bytes, str] = {}

    def resolve(self) -> None:
        names: Counter[str] = Counter()
        ids: Counter[bytes] = Counter()
        for topic in self._wanted:
            if topic.name is None and topic.topic_id == ZERO_UUID:
                self._refuse(None, ZERO_UUID, "Neither topic name nor id were specified.")
            elif topic.name is None:
                ids[topic.topic_id] += 1
            elif topic.topic_id == ZERO_UUID:
                names[topic.name] += 1
            else:
                self._refuse(topic.name, topic.topic_id, "You may not specify both topic name and topic id.")
        for topic_id, count in ids.items():
            self._by_id(topic_id, count)
        for name, count in names.items():
            self._by_name(name, count, ids)

    def _by_id(self, topic_id: bytes, count: int) -> None:
        topic = self._topics.get_by_id(topic_id)
        if count > 1:
            self._refuse(None, topic_id, "Duplicate topic id.")
        elif topic is None:
            self.refused.append(_answer(None, topic_id, ApiError.of(ErrorCode.UNKNOWN_TOPIC_ID)))
        else:
            self.doomed[topic_id] = topic.name

    def _by_name(self, name: str, count: int, ids: Counter[bytes]) -> None:
        topic = self._topics.get(name)
        if count > 1:
            self._refuse(name, ZERO_UUID, "Duplicate topic name.")
        elif topic is None:
            self.refused.append(_answer(name, ZERO_UUID, ApiError.of(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)))
        elif topic.id in ids:
            self.doomed.pop(topic.id, None)
            self._refuse(name, topic.id, "The provided topic name maps to an ID that was already supplied.")
        else:
            self.doomed[topic.id] = name

    def _refuse(self, name: str | None, topic_id: bytes, message: str) -> None:
        self.refused.append(_answer(name, topic_id, ApiError(ErrorCode.INVALID_REQUEST, message)))
