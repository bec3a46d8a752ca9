"""One simulated broker: real log manager, replica manager, fetch handler and followers, moved by the world's events.

Owns what a broker process owns; `crash` throws it away and leaves the disk. The timing of everything (polls,
heartbeats, metadata) is drawn from the world's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from blumfeld.broker.api.fetch import fetch
from blumfeld.broker.context import Broker, Context
from blumfeld.broker.dispatch import Peer
from blumfeld.broker.recently_fenced import RecentlyFenced
from blumfeld.broker.sessions import FetchSessions
from blumfeld.cluster.controller.settings import SUPPORTED_FEATURES
from blumfeld.cluster.followers import Membership
from blumfeld.cluster.image.delta import MetadataDelta
from blumfeld.cluster.image.image import EMPTY_IMAGE, MetadataImage
from blumfeld.cluster.isr_changes import IsrQueue
from blumfeld.cluster.lifecycle import FORGOTTEN
from blumfeld.cluster.partition import Partition
from blumfeld.cluster.replicas import ReplicaManager
from blumfeld.cluster.replication import FetchOptions, Replication
from blumfeld.cluster.watching import Signal
from blumfeld.config.sources import Config, Layer
from blumfeld.env.entropy import SeededEntropy
from blumfeld.env.environment import Env
from blumfeld.env.faulty_disk import FaultyDisk
from blumfeld.env.net import RealNetwork
from blumfeld.protocol.errors import ErrorCode
from blumfeld.protocol.keys import ApiKey
from blumfeld.protocol.messages.alter_partition import AlterPartitionResponse
from blumfeld.protocol.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from blumfeld.protocol.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from blumfeld.protocol.messages.fetch import FetchRequest, FetchResponse
from blumfeld.protocol.messages.header import RequestHeader
from blumfeld.storage.manager import LogManager
from tests.sim.cluster.controller import CLUSTER_ID, CONTROLLER

if TYPE_CHECKING:
    from blumfeld.storage.log import Log
    from tests.sim.cluster.world import World

FETCH_VERSION = 17
HEARTBEAT_S = 0.15
LAG_S = 0.4
RPC_TIMEOUT_S = 0.25
METADATA_S = 0.03


@cache
def _config() -> Config:
    return Config(
        [
            Layer(
                "simulation",
                {
                    "log.dirs": "/data",
                    "replica.lag.time.max.ms": str(int(LAG_S * 1000)),
                    "num.recovery.threads.per.data.dir": "1",
                    "replica.high.watermark.checkpoint.interval.ms": "300",
                    "log.flush.offset.checkpoint.interval.ms": "300",
                    "log.index.size.max.bytes": "400",
                },
            )
        ]
    )


class Inline(Executor):
    """Threads would not replay."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Logs(LogManager):
    """Which topic a log belongs to is known after every crash, as if its file had been synced when it was made."""

    def create(
        self,
        topic: str,
        partition: int,
        topic_id: bytes,
        overrides: Mapping[str, str] | None = None,
        *,
        directory_id: bytes | None = None,
        holds_data: bool = False,
    ) -> Log:
        is_new = self.get(topic, partition) is None
        log = super().create(topic, partition, topic_id, overrides, directory_id=directory_id, holds_data=holds_data)
        if is_new:
            log.flush()
            self._disk.sync_directory(log.home.path)
        return log


class SkewedClock:
    """A clock that runs a little fast or slow, from a moment of its own."""

    def __init__(self, world: World, rate: float, offset_s: float) -> None:
        self._world = world
        self._rate = rate
        self._offset_s = offset_s

    def monotonic(self) -> float:
        return 100.0 + self._offset_s + self._world.now * self._rate

    def time_ms(self) -> int:
        return 1_700_000_000_000 + int((self._offset_s + self._world.now * self._rate) * 1000)


class _Fetching:
    """What is followed, by leader; `replicas.Followed`."""

    def __init__(self, broker: SimBroker) -> None:
        self._broker = broker
        self.leaders: dict[Partition, int] = {}

    def follow(self, partition: Partition) -> None:
        self.unfollow(partition)
        self.leaders[partition] = partition.leader_id
        self._broker.replication(partition.leader_id).follow(partition)
        self._broker.poll_soon(partition.leader_id)

    def unfollow(self, partition: Partition) -> None:
        leader = self.leaders.pop(partition, None)
        if leader is not None:
            self._broker.replication(leader).unfollow(partition)

    def brokers_changed(self, broker_ids: Iterable[int]) -> None:
        pass

    def drop_idle(self) -> None:
        pass


class SimBroker:
    """A broker process (and the disk under it, which outlives it)."""

    def __init__(self, world: World, node_id: int) -> None:
        self.world = world
        self.node_id = node_id
        random = world.random
        rate = random.uniform(0.95, 1.05)
        if abs(rate - 1) > 0.01:
            world.counts["clock skewed"] += 1
        self.clock = SkewedClock(world, rate, random.uniform(0, 1000))
        self.disk = FaultyDisk(world.seed * 31 + node_id, clock=self.clock)
        self.is_up = False
        self.incarnation = 0
        self.paused_until = 0.0
        self.leaving = False
        self.replicas: ReplicaManager

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The process begins: logs are opened, the rest is forgotten."""
        assert not self.is_up
        random = self.world.random
        self.is_up = True
        self.leaving = False
        self.incarnation += 1
        self.incarnation_id = (self.node_id * 1000 + self.incarnation).to_bytes(16, "big")
        entropy = SeededEntropy(random.randrange(1 << 30))
        self.logs = Logs(_config(), self.disk, self.clock, entropy, executor=Inline())
        self.logs.open(CLUSTER_ID, self.node_id)
        self.applied = 0
        self.image: MetadataImage = EMPTY_IMAGE
        self.broker_epoch = -1
        self.is_fenced = True
        self.caught_up = False
        self.membership = Membership(self.node_id, EMPTY_IMAGE.cluster)
        self.isr_queue = IsrQueue(self.membership)
        self.fetching = _Fetching(self)
        self._replications: dict[int, Replication] = {}
        self._asking: dict[int, int] = {}
        self._questions = 0
        self._altering = False
        self.waiting: dict[Signal, list[Callable[[], bool]]] = {}
        self.replicas = ReplicaManager(
            self.logs,
            self.membership,
            self.clock,
            _config(),
            wake=self._wake,
            followed=self.fetching,
            propose=self._propose,
            note_directory=lambda *_: None,
        )
        self.broker = Broker(
            env=Env(self.clock, entropy, self.disk, RealNetwork()),
            config=_config(),
            node_id=self.node_id,
            cluster_id=CLUSTER_ID,
            image=EMPTY_IMAGE,
            replicas=self.replicas,
            groups=cast(Any, None),
            controller=cast(Any, None),
            purgatory=cast(Any, None),
            fetch_sessions=FetchSessions(slots=random.choice([0, 1, 2, 10])),
            recently_fenced=RecentlyFenced(self.clock),
        )
        self.learn_soon()
        self._every(0.01, self._register)
        self._every(LAG_S / 2, self._shrink_isrs)
        self._every(0.1, self._turn_logs)

    def crash(self, *, power_lost: bool) -> None:
        """The process ends at once; with the power, the page cache goes too."""
        self.is_up = False
        if power_lost:
            self.disk.crash()
        else:
            self.disk.kill()

    def stop(self) -> None:
        """The process ends in order."""
        self.is_up = False
        self.logs.close(self.broker_epoch)

    def _every(self, seconds: float, act: Callable[[], float | None]) -> None:
        """Call `act` now and again while this incarnation lives; it may say how long to wait."""

        def again() -> None:
            wait = act()
            delay = (seconds if wait is None else wait) * self.world.random.uniform(0.7, 1.3)
            self.world.after(delay, again, at=self)

        self.world.after(seconds * self.world.random.random(), again, at=self)

    # --- the controller ----------------------------------------------------------------------------------------

    def _ask_controller(self, request: Any, heed: Callable[[Any], None], lost: Callable[[], None]) -> None:
        """One request on its own connection: whatever comes back to another incarnation is for nobody."""
        world, incarnation = self.world, self.incarnation
        answered = False

        def answer(response: Any) -> None:
            nonlocal answered
            if not answered and self.incarnation == incarnation:
                answered = True
                heed(response)

        def give_up() -> None:
            nonlocal answered
            if not answered:
                answered = True
                lost()

        world.send(
            self.node_id,
            CONTROLLER,
            lambda: world.controller.handle(
                request, lambda response: world.send(CONTROLLER, self.node_id, lambda: answer(response), to=self)
            ),
        )
        world.after(RPC_TIMEOUT_S, give_up, at=self)

    def _register(self) -> float | None:
        if self.broker_epoch >= 0:
            self._heartbeat()
            return HEARTBEAT_S
        request = BrokerRegistrationRequest(
            broker_id=self.node_id,
            cluster_id=CLUSTER_ID,
            incarnation_id=self.incarnation_id,
            listeners=[BrokerRegistrationRequest.Listener(name="PLAINTEXT", host="h", port=1, security_protocol=0)],
            features=[
                BrokerRegistrationRequest.Feature(name=name, min_supported_version=r.low, max_supported_version=r.high)
                for name, r in SUPPORTED_FEATURES.items()
            ],
            rack=None,
            log_dirs=self.logs.directory_ids(),
            previous_broker_epoch=self.logs.clean_shutdown_broker_epoch,
        )
        self._ask_controller(request, self._registered, lambda: None)
        return RPC_TIMEOUT_S

    def _registered(self, response: BrokerRegistrationResponse) -> None:
        if response.error_code == ErrorCode.NONE and self.broker_epoch < 0:
            self.broker_epoch = self.membership.broker_epoch = response.broker_epoch
            self._begin_if_caught_up()
            for leader, replication in self._replications.items():
                replication.failed()
                self.poll_soon(leader)

    def _begin_if_caught_up(self) -> None:
        if not self.caught_up and 0 <= self.broker_epoch <= self.image.offset:
            self.caught_up = True
            self.replicas.begin()
            self.replicas.remove_strays()

    def _heartbeat(self) -> None:
        request = BrokerHeartbeatRequest(
            broker_id=self.node_id,
            broker_epoch=self.broker_epoch,
            current_metadata_offset=self.image.offset,
            want_fence=not self.caught_up,
            want_shut_down=self.leaving,
        )
        self._ask_controller(request, self._heard, lambda: None)

    def _heard(self, response: BrokerHeartbeatResponse) -> None:
        if response.error_code in FORGOTTEN:
            self.broker_epoch = -1
        if response.error_code != ErrorCode.NONE:
            return
        self.is_fenced = response.is_fenced
        if self.leaving and response.should_shut_down:
            self.world.left(self)

    def learn_soon(self) -> None:
        """There is metadata to fetch."""
        delay = self.world.random.random() * self.world.metadata_delay_s
        self.world.after(
            delay, lambda: self.world.send(CONTROLLER, self.node_id, self._learn, to=self, patience=True), at=self
        )

    def _learn(self) -> None:
        """Apply some of the committed metadata that is not applied yet."""
        controller = self.world.controller
        target = controller.committed
        if target <= self.applied:
            return
        if self.world.random.random() < 0.3:
            target = self.world.random.randrange(self.applied + 1, target + 1)
        delta = MetadataDelta(self.image)
        for change in controller.log[self.applied : target]:
            delta.replay_all(change.records)
        self.applied = target
        self.image = self.broker.image = controller.log[target - 1].image
        self.replicas.apply(delta, self.image)
        self._begin_if_caught_up()
        if self.applied < controller.committed:
            self.learn_soon()

    # --- ISR changes -------------------------------------------------------------------------------------------

    def _propose(self, proposal: Any) -> None:
        self.isr_queue.submit(proposal)
        self.world.after(0.0, self._alter_partition, at=self)

    def _alter_partition(self) -> None:
        if self._altering or (request := self.isr_queue.next_request()) is None:
            return
        self._altering = True
        self.world.counts["isr change"] += 1

        def heed(response: AlterPartitionResponse) -> None:
            done(self.isr_queue.answered(response, self.clock.monotonic()))

        def lost() -> None:
            done(self.isr_queue.failed(ErrorCode.REQUEST_TIMED_OUT))

        def done(changed: list[Partition]) -> None:
            self._altering = False
            for partition in changed:
                self.replicas.settle(partition)
            self.world.after(0.02, self._alter_partition, at=self)

        self._ask_controller(request, heed, lost)

    def _shrink_isrs(self) -> None:
        self.replicas.shrink_isrs()

    def _turn_logs(self) -> None:
        self.logs.turn(self.clock.time_ms())

    # --- following ---------------------------------------------------------------------------------------------

    def replication(self, leader: int) -> Replication:
        found = self._replications.get(leader)
        if found is None:
            options = FetchOptions(max_wait_ms=0, min_bytes=0, max_bytes=600, response_max_bytes=2000, backoff_s=0.2)
            found = self._replications[leader] = Replication(self.node_id, options)
        return found

    def poll_soon(self, leader: int) -> None:
        """Ask that leader in a moment."""
        self.world.after(self.world.random.uniform(0.0, 0.005), lambda: self._poll(leader), at=self)

    def _poll(self, leader: int) -> None:
        if leader in self._asking or self.broker_epoch < 0:
            return
        replication = self.replication(leader)
        now = self.clock.monotonic()
        request = replication.next_request(self.broker_epoch, now)
        if request is None:
            ready = replication.next_ready()
            if ready is not None:
                self.world.after(max(ready - now, 0.001), lambda: self._poll(leader), at=self)
            return
        self._questions += 1
        question = self._asking[leader] = self._questions
        number, incarnation = replication.request_number, self.incarnation
        peer = self.world.brokers[leader]
        self.world.send(
            self.node_id,
            leader,
            lambda: self.world.send(
                leader, self.node_id, self._taking(leader, incarnation, question, number, peer.serve(request)), to=self
            ),
            to=peer,
        )
        self.world.after(RPC_TIMEOUT_S, lambda: self._give_up(leader, question), at=self)

    def _taking(
        self, leader: int, incarnation: int, question: int, number: int, response: FetchResponse
    ) -> Callable[[], None]:
        def take() -> None:
            if self.incarnation != incarnation:
                return
            for partition in self.replication(leader).answered(number, response, self.clock.monotonic()):
                self.replicas.settle(partition)
            for lost in self.replication(leader).lost():
                self._locate(leader, lost)
            if self._asking.get(leader) == question:
                del self._asking[leader]
                busy = any(len(data.records or b"") for topic in response.responses for data in topic.partitions)
                self.world.after(
                    self.world.random.uniform(0.0, 0.004 if busy else 0.05), lambda: self._poll(leader), at=self
                )

        return take

    def _give_up(self, leader: int, question: int) -> None:
        if self._asking.get(leader) == question:
            del self._asking[leader]
            self.replication(leader).failed()
            self._poll(leader)

    def serve(self, request: FetchRequest) -> FetchResponse:
        """Answer a follower."""
        if self.world.random.random() < 0.05:
            request = FetchRequest.decode(request.encode(FETCH_VERSION), FETCH_VERSION)
        header = RequestHeader(
            request_api_key=ApiKey.FETCH, request_api_version=FETCH_VERSION, correlation_id=1, client_id="replica"
        )
        answer = fetch(self.broker, Context(header, Peer(1, "PLAINTEXT", "h", "h", 1)), request)
        assert isinstance(answer, FetchResponse)
        return answer

    def _locate(self, leader: int, partition: Partition) -> None:
        """Look up where the leader's log lies, as the fetcher does by ListOffsets."""
        incarnation = self.incarnation
        peer = self.world.brokers[leader]
        epoch = partition.leader_epoch
        replication = self.replication(leader)

        def look_up() -> None:
            found = peer.replicas.find(partition.topic_id, partition.index)
            fits = found is not None and found.check_epoch(epoch, must_lead=True) is ErrorCode.NONE
            start, end = (found.log_start_offset, found.log_end_offset) if found is not None and fits else (-1, -1)
            self.world.send(leader, self.node_id, lambda: located(start, end), to=self)

        def located(start: int, end: int) -> None:
            now = self.clock.monotonic()
            if self.incarnation != incarnation:
                return
            if end < 0:
                replication.not_located(partition, now)
            elif replication.located(partition, start, end, now):
                self.replicas.settle(partition)
            self.poll_soon(leader)

        def lost() -> None:
            replication.not_located(partition, self.clock.monotonic())
            self.poll_soon(leader)

        self.world.counts["out of range"] += 1
        self.world.send(self.node_id, leader, look_up, to=peer)
        self.world.after(RPC_TIMEOUT_S, lost, at=self)

    # --- those who wait here -----------------------------------------------------------------------------------

    def _wake(self, signal: Signal) -> None:
        waiting = self.waiting.get(signal)
        if waiting:
            self.waiting[signal] = [attempt for attempt in waiting if not attempt()]
