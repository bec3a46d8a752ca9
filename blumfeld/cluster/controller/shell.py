"""The controller of one node: runs deciders while its node leads the quorum, and follows the log while another does.

See docs/controller.md. Public face: `QuorumController.handle`, `is_active`, `broker_unreachable`, `start`, `stop`.
"""

from __future__ import annotations

from collections.abc import Awaitable

from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.protocol.schema import Request, Response


class QuorumController:
    """Controller of one node."""

    @property
    def is_active(self) -> bool:
        """Whether this node leads the quorum and has caught up with its own epoch's start."""
        raise NotImplementedError

    def handle(self, request: Request, context: ControllerContext) -> Awaitable[Response]:
        """Answer a controller request once its records are committed. NOT_CONTROLLER and refusals are error codes."""
        raise NotImplementedError

    def broker_unreachable(self, broker_id: int) -> None:
        """There is positive evidence that the broker's process is gone: shorten its session to 250 ms from now."""
        raise NotImplementedError
