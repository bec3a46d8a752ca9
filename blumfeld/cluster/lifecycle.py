"""A broker's life in the eyes of the controller: registration, heartbeats, fencing, controlled shutdown (KIP-631).

Owns the broker's state and incarnation, and the one task that talks to the controller about them.

    NOT_RUNNING ──start──> STARTING ──caught up──> RECOVERY ──ready, unfenced──> RUNNING
        any of them ──controlled_shutdown──> PENDING_CONTROLLED_SHUTDOWN ──released, or nobody left to──> SHUTTING_DOWN

Invariants
- One incarnation id per process; one registration per incarnation, repeated until the controller accepts it.
- DUPLICATE_BROKER_REGISTRATION is waited out: an earlier incarnation's session is still alive at the controller.
- A broker whose epoch the controller does not know (any more) registers again, as the same incarnation: a late
  request of its predecessor may have come after its own. (Apache Kafka's brokers stay outside then.)
- Unfencing is asked for only when the broker is ready and has applied the metadata up to its own registration.
- A heartbeat leaves at least each broker.heartbeat.interval.ms, at once when something changed, and reports the
  metadata offset applied at that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from blumfeld.cluster.controller_channel import ControllerUnavailable, NoController
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse

if TYPE_CHECKING:
    from blumfeld.cluster.controller_channel import ControllerChannel
    from blumfeld.cluster.image.cluster import Endpoint, VersionRange
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env

_log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.05
LAST_RETRY_S: Final = 1.0
SHUTDOWN_HEARTBEAT_S: Final = 0.05
"""While the controller moves our leaderships away, it is asked this often whether it is done."""
FATAL: Final = frozenset(
    {
        ErrorCode.INCONSISTENT_CLUSTER_ID,
        ErrorCode.UNSUPPORTED_VERSION,
        ErrorCode.INVALID_REGISTRATION,
        ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    }
)
"""Registrations that trying again will not mend."""
FORGOTTEN: Final = frozenset({ErrorCode.STALE_BROKER_EPOCH, ErrorCode.BROKER_ID_NOT_REGISTERED})
"""Heartbeats of a broker that the controller does not know under this epoch."""


class State(Enum):
    """Where in its life the broker is."""

    NOT_RUNNING = auto()
    STARTING = auto()
    RECOVERY = auto()
    RUNNING = auto()
    PENDING_CONTROLLED_SHUTDOWN = auto()
    SHUTTING_DOWN = auto()


class Identity(NamedTuple):
    """What a broker registers with. `log_directories`: ids. `previous_broker_epoch`: −1 unless it stopped cleanly."""

    node_id: int
    cluster_id: str
    listeners: Sequence[Endpoint]
    features: Mapping[str, VersionRange]
    log_directories: Sequence[bytes]
    rack: str | None = None
    previous_broker_epoch: int = -1


class RegistrationRefused(Exception):
    """The controller will never accept this broker as it is."""


class BrokerLifecycle:
    """The life of one broker.

    Args:
        env: clock and entropy.
        identity: what it registers with.
        channel: the way to the controller.
        config: broker.heartbeat.interval.ms, initial.broker.registration.timeout.ms.
        metadata_offset: the offset of the last metadata record applied here.
        on_registered: called with the broker epoch.
        offline_directories: ids of log directories that failed since the start.
    """

    def __init__(
        self,
        env: Env,
        identity: Identity,
        channel: ControllerChannel,
        config: Config,
        *,
        metadata_offset: Callable[[], int],
        on_registered: Callable[[int], None],
        offline_directories: Callable[[], list[bytes]] = list,
    ) -> None:
        self.state = State.NOT_RUNNING
        self.broker_epoch = -1
        self.incarnation_id = env.entropy.uuid()
        self.is_fenced = True
        self._clock = env.clock
        self._identity = identity
        self._channel = channel
        self._interval_s = config.int("broker.heartbeat.interval.ms") / 1000
        self._registration_timeout_s = config.int("initial.broker.registration.timeout.ms") / 1000
        self._metadata_offset = metadata_offset
        self._on_registered = on_registered
        self._offline_directories = offline_directories
        self._ready = False
        self._released = False
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    # --- what the broker says ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Register, then send heartbeats until `stop`."""
        assert self.state is State.NOT_RUNNING
        self.state = State.STARTING
        self._task = asyncio.get_running_loop().create_task(self._live())

    def metadata_applied(self, offset: int) -> None:
        """More metadata is applied here: a heartbeat may be worth sending now."""
        waiting = self.state is State.STARTING or (self.is_fenced and self._ready)
        if waiting and 0 <= self.broker_epoch <= offset:
            self._wake.set()

    def hurry(self) -> None:
        """Somebody waits to hear of us: send a heartbeat now, not when the next regular one is due."""
        if self.state is State.RUNNING:
            self._wake.set()

    def ready(self) -> None:
        """The broker can serve: ask to be unfenced."""
        self._ready = True
        self._wake.set()

    async def caught_up(self) -> None:
        """Return when the metadata is applied up to our own registration.

        Raises RegistrationRefused, and ControllerUnavailable when initial.broker.registration.timeout.ms is over.
        """
        await self._until(lambda: self.state not in (State.NOT_RUNNING, State.STARTING))

    async def unfenced(self) -> None:
        """Return when the controller lets clients come to us. Raises as `caught_up`."""
        await self._until(lambda: not self.is_fenced)

    async def controlled_shutdown(self, timeout_s: float) -> bool:
        """Have our leaderships moved away; False where that was not done in time. Heartbeats end either way."""
        if self._task is None or self._task.done() or self.broker_epoch < 0:
            await self.stop()
            return False
        self.state = State.PENDING_CONTROLLED_SHUTDOWN
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self.state is State.SHUTTING_DOWN)
        except TimeoutError:
            _log.warning("no controlled shutdown within %g s: leaving without", timeout_s)
        except (RegistrationRefused, ControllerUnavailable):
            pass
        released = self._released
        await self.stop()
        return released

    async def stop(self) -> None:
        """Send no more heartbeats."""
        self.state = State.SHUTTING_DOWN
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait for a state; what ended the task ends the waiting."""
        assert self._task is not None, "start it first"
        async with self._moved:
            while not reached():
                if self._task.done():
                    self._task.result()
                    raise ControllerUnavailable("the broker's lifecycle has ended")
                await self._moved.wait()

    # --- what it tells the controller --------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._register()
            while self.state is not State.SHUTTING_DOWN:
                try:
                    delay_s = await self._heartbeat()
                except Exception:  # noqa: BLE001  a defect of ours must not make this broker dead to the others
                    _log.exception("a heartbeat failed")
                    delay_s = min(self._interval_s, LAST_RETRY_S)
                if delay_s > 0:
                    await self._sleep(delay_s)
        finally:
            asyncio.get_running_loop().call_soon(self._spread_the_end)

    def _spread_the_end(self) -> None:
        self._announcing = asyncio.get_running_loop().create_task(self._announce())

    async def _announce(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _register(self) -> None:
        deadline = self._clock.monotonic() + self._registration_timeout_s
        request = self._registration()
        retry_s = FIRST_RETRY_S
        while True:
            remaining_ms = (deadline - self._clock.monotonic()) * 1000
            response: BrokerRegistrationResponse = await self._channel.send(request, timeout_ms=max(remaining_ms, 1.0))
            error = ErrorCode(response.error_code)
            if error is ErrorCode.NONE:
                self.broker_epoch = response.broker_epoch
                _log.info("registered as broker %d, epoch %d", self._identity.node_id, self.broker_epoch)
                self._on_registered(self.broker_epoch)
                return
            if error in FATAL:
                raise RegistrationRefused(f"the controller refuses this broker: {error.name}: {error.text}")
            if self._clock.monotonic() + retry_s >= deadline:
                raise ControllerUnavailable(
                    f"no registration within initial.broker.registration.timeout.ms: {error.name}"
                )
            _log.info("registration waits: %s", error.name)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _registration(self) -> BrokerRegistrationRequest:
        identity = self._identity
        return BrokerRegistrationRequest(
            broker_id=identity.node_id,
            cluster_id=identity.cluster_id,
            incarnation_id=self.incarnation_id,
            listeners=[
                BrokerRegistrationRequest.Listener(
                    name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol
                )
                for e in identity.listeners
            ],
            features=[
                BrokerRegistrationRequest.Feature(name=name, min_supported_version=r.low, max_supported_version=r.high)
                for name, r in identity.features.items()
            ],
            rack=identity.rack,
            log_dirs=list(identity.log_directories),
            previous_broker_epoch=identity.previous_broker_epoch,
        )

    async def _heartbeat(self) -> float:
        """One heartbeat; returns how long to wait for the next one."""
        offset = self._metadata_offset()
        if self.state is State.STARTING and offset < self.broker_epoch:
            return self._interval_s  # `metadata_applied` wakes us
        leaving = self.state is State.PENDING_CONTROLLED_SHUTDOWN
        request = BrokerHeartbeatRequest(
            broker_id=self._identity.node_id,
            broker_epoch=self.broker_epoch,
            current_metadata_offset=offset,
            want_fence=not self._ready,
            want_shut_down=leaving,
            offline_log_dirs=self._offline_directories(),
        )
        try:
            response: BrokerHeartbeatResponse = await self._channel.send(
                request, timeout_ms=self._interval_s * 1000, while_possible=leaving
            )
        except NoController:
            await self._shut_down()
            return 0.0
        except ControllerUnavailable as error:
            _log.info("no heartbeat: %s", error)
            return 0.0
        if response.error_code != ErrorCode.NONE:
            _log.warning("heartbeat refused: %s", ErrorCode(response.error_code).name)
            if response.error_code in FORGOTTEN and not leaving:
                return await self._register_again()
            return min(self._interval_s, LAST_RETRY_S)
        return await self._heed(response, leaving)

    async def _register_again(self) -> float:
        """Come back under a new broker epoch. A broker that serves does not stop because that takes long."""
        try:
            await self._register()
        except (ControllerUnavailable, RegistrationRefused) as error:
            _log.error("this broker is not registered any more, and cannot be: %s", error)
            return LAST_RETRY_S
        return 0.0

    async def _shut_down(self) -> None:
        """Without a word: there is no controller that could take our leaderships away."""
        async with self._moved:
            self.state = State.SHUTTING_DOWN
            self._moved.notify_all()

    async def _heed(self, response: BrokerHeartbeatResponse, leaving: bool) -> float:
        async with self._moved:
            if self.state is State.STARTING and response.is_caught_up:
                self.state = State.RECOVERY
            if not response.is_fenced and self.state is State.RECOVERY:
                self.state = State.RUNNING
            if response.is_fenced != self.is_fenced:
                _log.info("fenced by the controller" if response.is_fenced else "unfenced")
            self.is_fenced = response.is_fenced
            if leaving and response.should_shut_down:
                self.state = State.SHUTTING_DOWN
                self._released = True
            self._moved.notify_all()
        return SHUTDOWN_HEARTBEAT_S if leaving else self._interval_s
