"""From ISR proposals to AlterPartition requests and back.

Owns the proposals that wait for the controller. `IsrQueue` is pure: proposals in, requests and settled partitions out.
`IsrChanges` runs it over a controller channel.

Invariants
- One AlterPartition request is in flight at a time, with everything that was proposed until it left.
- A proposal that metadata has settled meanwhile is neither sent nor are its answers heeded.
- A proposal leaves the queue only with an answer that is not retriable; while the controller can't be asked, it waits.
- No task runs while nothing is proposed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from blumfeld.cluster.isr import Answered, IsrProposal
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.alter_partition import AlterPartitionRequest, AlterPartitionResponse

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.followers import Membership
    from blumfeld.cluster.partition import Partition
    from blumfeld.env.clock import Clock

_log = logging.getLogger(__name__)

RETRY_S: Final = 0.05
REQUEST_TIMEOUT_MS: Final = 10_000.0

_Asked = AlterPartitionRequest.Topic.Partition


class IsrQueue:
    """Proposals that are to be sent, and those in flight."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._waiting: dict[IsrProposal, None] = {}
        self._in_flight: dict[tuple[bytes, int], IsrProposal] = {}
        self.has_retries = False
        """Whether something is to be sent that was refused for now: not at once."""

    def submit(self, proposal: IsrProposal) -> None:
        """Send it with the next request."""
        self._waiting[proposal] = None

    def next_request(self) -> AlterPartitionRequest | None:
        """Everything that waits, as one request; None when nothing does or a request is in flight."""
        if self._in_flight:
            return None
        topics: dict[bytes, list[_Asked]] = {}
        for proposal in self._waiting:
            partition = proposal.partition
            if partition.isr.is_current(proposal):
                self._in_flight[partition.topic_id, partition.index] = proposal
                topics.setdefault(partition.topic_id, []).append(_asked(proposal))
        self._waiting.clear()
        self.has_retries = False
        if not topics:
            return None
        return AlterPartitionRequest(
            broker_id=self._membership.node_id,
            broker_epoch=self._membership.broker_epoch,
            topics=[AlterPartitionRequest.Topic(topic_id=i, partitions=p) for i, p in topics.items()],
        )

    def failed(self, error: ErrorCode) -> list[Partition]:
        """The whole request in flight was refused or lost."""
        in_flight, self._in_flight = self._in_flight, {}
        return [p.partition for p in in_flight.values() if self._refused(p, error)]

    def answered(self, response: AlterPartitionResponse, now: float) -> list[Partition]:
        """The controller's answer; returns the partitions that changed, to be settled."""
        if response.error_code != ErrorCode.NONE:
            return self.failed(ErrorCode(response.error_code))
        in_flight, self._in_flight = self._in_flight, {}
        changed = []
        for topic in response.topics:
            for answer in topic.partitions:
                proposal = in_flight.pop((topic.topic_id, answer.partition_index), None)
                if proposal is not None and self._heed(proposal, answer, now):
                    changed.append(proposal.partition)
        for proposal in in_flight.values():
            _log.warning("the controller left %r out of its answer", proposal.partition)
            self._refused(proposal, ErrorCode.UNKNOWN_SERVER_ERROR)
        return changed

    def _heed(self, proposal: IsrProposal, answer: AlterPartitionResponse.Topic.Partition, now: float) -> bool:
        if answer.error_code != ErrorCode.NONE:
            return self._refused(proposal, ErrorCode(answer.error_code))
        return proposal.partition.leadership.answered(proposal, answer, now) is Answered.COMMITTED

    def _refused(self, proposal: IsrProposal, error: ErrorCode) -> bool:
        """Whether the partition changed: the proposal was rolled back."""
        outcome = proposal.partition.leadership.refused(proposal, error)
        if outcome is Answered.RETRY:
            self._waiting[proposal] = None
            self.has_retries = True
        return outcome is Answered.ROLLED_BACK


def _asked(proposal: IsrProposal) -> _Asked:
    return _Asked(
        partition_index=proposal.partition.index,
        leader_epoch=proposal.leader_epoch,
        new_isr_with_epochs=[_Asked.BrokerState(broker_id=i, broker_epoch=e) for i, e in proposal.isr],
        leader_recovery_state=proposal.leader_recovery_state,
        partition_epoch=proposal.partition_epoch,
    )


class IsrChanges:
    """Sends what is proposed to the active controller, for as long as it takes.

    Args:
        channel: the way to the controller.
        membership: who we are.
        clock: for the high watermark's lag rule.
        settle: called with each partition that an answer changed.
    """

    def __init__(
        self,
        channel: ControllerChannel,
        membership: Membership,
        clock: Clock,
        settle: Callable[[Partition], None],
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._settle = settle
        self._queue = IsrQueue(membership)
        self._sender: asyncio.Task[None] | None = None
        self._stopped = False

    def submit(self, proposal: IsrProposal) -> None:
        """Have the controller decide on `proposal`."""
        self._queue.submit(proposal)
        if self._sender is None and not self._stopped:
            self._sender = asyncio.get_running_loop().create_task(self._send())

    async def stop(self) -> None:
        """Send nothing any more."""
        self._stopped = True
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])
            self._sender = None

    async def _send(self) -> None:
        from blumfeld.cluster.controller_channel import ControllerUnavailable

        try:
            while (request := self._queue.next_request()) is not None:
                try:
                    response = await self._channel.send(request, timeout_ms=REQUEST_TIMEOUT_MS)
                except ControllerUnavailable as error:
                    _log.info("ISR changes wait for a controller: %s", error)
                    changed = self._queue.failed(ErrorCode.REQUEST_TIMED_OUT)
                except Exception:  # noqa: BLE001  a defect of ours must not leave ISRs as they are for ever
                    _log.exception("an ISR change failed")
                    changed = self._queue.failed(ErrorCode.UNKNOWN_SERVER_ERROR)
                else:
                    changed = self._queue.answered(response, self._clock.monotonic())
                for partition in changed:
                    self._settle(partition)
                if self._queue.has_retries:
                    await asyncio.sleep(RETRY_S)
        finally:
            self._sender = None
