"""Answers that refuse a whole request: NOT_CONTROLLER, REQUEST_TIMED_OUT and the like.

Owns where in each controller API's answer the error goes. Requests that name several things are answered for each of
them, as clients expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey, response_class
from blumfeld.protocol.messages.elect_leaders import ElectLeadersResponse

if TYPE_CHECKING:
    from blumfeld.protocol.schema import Request, Response


def refusal(request: Request, code: ErrorCode, message: str | None = None) -> Response:
    """The answer to `request` that says `code` and nothing else."""
    key = type(request).KEY
    make = _PARTS.get(key)
    response_type: Any = response_class(key)
    response: Response = make(response_type, request, code, message) if make else response_type(error_code=code)
    if make is None and hasattr(response, "error_message"):
        response.error_message = message
    return response


def fitted(response: Response, version: int) -> Response:
    """The response as a client of that version can be told: ElectLeaders 0 has no error of the whole request, only
    those of its partitions."""
    if version == 0 and isinstance(response, ElectLeadersResponse):
        response.error_code = ErrorCode.NONE
    return response


def _create_topics(response: Any, request: Any, code: ErrorCode, message: str | None) -> Any:
    return response(
        topics=[response.Topic(name=topic.name, error_code=code, error_message=message) for topic in request.topics]
    )


def _delete_topics(response: Any, request: Any, code: ErrorCode, message: str | None) -> Any:
    named: list[tuple[str | None, bytes | None]] = [(name, None) for name in request.topic_names]
    named.extend((topic.name, topic.topic_id) for topic in request.topics)
    parts = []
    for name, topic_id in named:
        part = response.Topic(name=name, error_code=code, error_message=message)
        if topic_id is not None:
            part.topic_id = topic_id
        parts.append(part)
    return response(responses=parts)


def _create_partitions(response: Any, request: Any, code: ErrorCode, message: str | None) -> Any:
    return response(
        results=[response.Result(name=topic.name, error_code=code, error_message=message) for topic in request.topics]
    )


def _configs(response: Any, request: Any, code: ErrorCode, message: str | None) -> Any:
    return response(
        responses=[
            response.Resource(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        ]
    )


def _elect_leaders(response: Any, request: Any, code: ErrorCode, message: str | None) -> Any:
    result = response.ReplicaElectionResult
    return response(
        error_code=code,
        replica_election_results=[
            result(
                topic=topic.topic,
                partition_result=[
                    result.PartitionResult(partition_id=index, error_code=code, error_message=message)
                    for index in topic.partitions
                ],
            )
            for topic in request.topic_partitions or ()
        ],
    )


_PARTS = {
    ApiKey.CREATE_TOPICS: _create_topics,
    ApiKey.DELETE_TOPICS: _delete_topics,
    ApiKey.CREATE_PARTITIONS: _create_partitions,
    ApiKey.ALTER_CONFIGS: _configs,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: _configs,
    ApiKey.ELECT_LEADERS: _elect_leaders,
}
