"""The active controller of a simulated cluster: real deciders over a metadata log that commits with delay.

Owns the metadata log: a committed prefix, and what was appended since. `fail_over` loses some of the latter, and all
soft state, as a new active controller elsewhere would begin without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from blumfeld.cluster.controller.activation import activation_records
from blumfeld.cluster.controller.config_rules import ConfigRules
from blumfeld.cluster.controller.context import ControllerContext
from blumfeld.cluster.controller.decision import Turn
from blumfeld.cluster.controller.periodic import Periodic
from blumfeld.cluster.controller.refusals import refusal
from blumfeld.cluster.controller.sessions import BrokerSessions
from blumfeld.cluster.controller.settings import ControllerSettings
from blumfeld.cluster.controller.table import decider
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.config.sources import Config
from blumfeld.env.entropy import SeededEntropy
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.schema import Record

if TYPE_CHECKING:
    from tests.sim.cluster.world import World

CONTROLLER = 0
CLUSTER_ID = "simulation"
SESSION_TIMEOUT_S = 0.6
COMMIT_S = 0.02
"""The longest that the metadata quorum takes to commit."""


@cache
def _rules() -> ConfigRules:
    return ConfigRules(Config(), CONTROLLER)


class Change(NamedTuple):
    """A run of records that is applied as a whole, and the metadata after it."""

    records: list[Record]
    image: MetadataImage


class Controller:
    """Decides, appends, commits, answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entropy = SeededEntropy(world.seed + 1)
        self.settings = ControllerSettings(
            node_id=CONTROLLER,
            cluster_id=CLUSTER_ID,
            configs=_rules(),
            voter_ids=frozenset({CONTROLLER, CONTROLLER + 1}),
            session_timeout_s=SESSION_TIMEOUT_S,
            balance_interval_s=1.5,
            unclean_interval_s=1.0,
            no_op_interval_s=0.25,
        )
        self.log: list[Change] = []
        self.committed = 0
        """How many changes of the log are committed."""
        self.next_offset = 0
        self.epoch = 0
        self.image: MetadataImage = EMPTY_IMAGE
        self.is_up = True
        self._waiting: list[tuple[int, Callable[[Any], None], Any]] = []
        self._take_over()

    @property
    def committed_image(self) -> MetadataImage:
        """What brokers may know by now."""
        return self.log[self.committed - 1].image if self.committed else EMPTY_IMAGE

    # --- terms -------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        self.epoch += 1
        self.is_up = True
        now = self.world.now
        self.sessions = BrokerSessions(SESSION_TIMEOUT_S, own_id=CONTROLLER)
        self.sessions.start(self.image.cluster, now)
        self.periodic = Periodic(self.settings, self.sessions, now)
        self._append(activation_records(self.image, in_transaction=False))
        self._look_after(self.epoch)

    def fail_over(self) -> None:
        """The active controller dies; what was not committed may be lost, and those who wait hear nothing."""
        kept = self.committed + self.world.random.randrange(len(self.log) - self.committed + 1)
        del self.log[kept:]
        self.committed = kept
        self.image = self.committed_image
        self.next_offset = self.image.offset + 1
        self._waiting.clear()
        self.is_up = False
        self.world.after(self.world.random.uniform(0.05, 0.5), self._take_over)
        self.world.metadata_committed()

    def _look_after(self, epoch: int) -> None:
        """Periodic turns: fencing, elections, NoOps."""
        if not self.is_up or epoch != self.epoch:
            return
        now = self.world.now
        for decide in self.periodic.on_time(self.image, now, now):
            decision = decide(self._turn(ControllerContext(0)))
            self._append(decision.records)
            if decision.response:
                self.periodic.again(decide, now)
        self.world.after(0.03, lambda: self._look_after(epoch))

    def broker_refuses(self, broker_id: int) -> None:
        """Positive evidence that a broker's process is gone: nobody listens there."""
        if self.is_up:
            self.sessions.shorten(broker_id, self.world.now)

    # --- requests ----------------------------------------------------------------------------------------------

    def handle(self, request: Any, answer: Callable[[Any], None]) -> None:
        """Decide; the answer is released when everything appended so far is committed."""
        if not self.is_up:
            answer(refusal(request, ErrorCode.NOT_CONTROLLER))
            return
        decide = decider(ApiKey(type(request).KEY))
        assert decide is not None
        context = ControllerContext(type(request).VERSIONS.high)
        decision = decide(self._turn(context), request)
        self._append(decision.records)
        if self.committed == len(self.log):
            answer(decision.response)
        else:
            self._waiting.append((len(self.log), answer, decision.response))

    def _turn(self, context: ControllerContext) -> Turn:
        return Turn(self.image, self.sessions, self.settings, self.entropy, context, self.world.now, self.next_offset)

    def _append(self, records: list[Record]) -> None:
        if not records:
            return
        self.next_offset += len(records)
        self.image = MetadataDelta(self.image).replay_all(records).apply(self.next_offset - 1, self.epoch)
        self.log.append(Change(records, self.image))
        self.periodic.appended(self.world.now)
        self.world.checks.metadata_appended(self.image)
        length, epoch = len(self.log), self.epoch
        self.world.after(self.world.random.uniform(0.001, COMMIT_S), lambda: self._commit(length, epoch))

    def _commit(self, length: int, epoch: int) -> None:
        if epoch != self.epoch or not self.is_up or length <= self.committed:
            return
        self.committed = length
        due = [entry for entry in self._waiting if entry[0] <= length]
        self._waiting = [entry for entry in self._waiting if entry[0] > length]
        for _, answer, response in due:
            answer(response)
        self.world.metadata_committed()
