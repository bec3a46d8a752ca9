"""Replica fetchers: one for each leader that this broker follows, over real Fetch requests.

Owns the connections to leaders and when to ask; `replication.py` decides what is asked and what the answers do.

Must never know partitions' insides.

Invariants
- One incremental session per leader; one request in flight, but for a moment in which a second one overtakes it: when
  partitions are to be followed anew while a long poll waits, the session's next request goes out on a second connection
  at once, and the leader answers the first (Apache Kafka's does so with an error, which is of no consequence).
- Nothing is fetched before this broker is registered: without a broker epoch the leader could not tell incarnations
  apart.
- After a broken connection, the next attempt waits: 50 ms, doubling up to replica.fetch.backoff.ms.
- A leader that nothing is fetched from has no connection, task or timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from blumfeld.cluster.link import Link, LinkError
from blumfeld.cluster.replication import FetchOptions, Replication
from blumfeld.protocol.errors import ErrorCode, ProtocolError
from blumfeld.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse

if TYPE_CHECKING:
    from concurrent.futures import Future

    from blumfeld.cluster.followers import Membership
    from blumfeld.cluster.partition import Partition
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env
    from blumfeld.protocol.messages.fetch import FetchResponse

_log = logging.getLogger(__name__)

Flush = Callable[["Partition", int], "Future[int]"]

FETCH_VERSION: Final = 17
"""The version that metadata.version 25 prescribes between brokers (18 belongs to 27)."""
LIST_OFFSETS_VERSION: Final = 9
OVERTAKE_AFTER_S: Final = 0.005
FIRST_RECONNECT_S: Final = 0.05
LATEST: Final = -1
EARLIEST: Final = -2


class ReplicaFetcher:
    """Follows one leader.

    Args:
        env: clock and network.
        leader_id: the leader's node id.
        membership: who we are.
        locate: host and port of a broker's inter-broker listener.
        options: what and how much is fetched at once.
        timeout_ms: replica.socket.timeout.ms.
        settle: called with each partition whose log moved.
        flush: makes a partition's log durable up to an offset (`LogManager.flushed`).
    """

    def __init__(
        self,
        env: Env,
        leader_id: int,
        membership: Membership,
        locate: Callable[[int], tuple[str, int] | None],
        options: FetchOptions,
        timeout_ms: float,
        settle: Callable[[Partition], None],
        flush: Flush,
    ) -> None:
        self._env = env
        self._leader_id = leader_id
        self._membership = membership
        self._locate = locate
        self._timeout_ms = timeout_ms
        self._max_reconnect_s = options.backoff_s
        self._settle = settle
        self._flush = flush
        self._replication = Replication(membership.node_id, options, self._make_durable)
        self._links: list[Link] = []
        self._in_flight: dict[Link, asyncio.Task[Any]] = {}
        self._locating: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resting_until = 0.0
        self._reconnect_s = 0.0
        self._stopped = False

    def __len__(self) -> int:
        return len(self._replication)

    def follow(self, partition: Partition) -> None:
        """Fetch `partition` from now on."""
        self._replication.follow(partition)
        if not self._in_flight:
            self._ask_at(self._resting_until)
        elif self._timer is None:
            self._ask_at(self._env.clock.monotonic() + OVERTAKE_AFTER_S)

    def unfollow(self, partition: Partition) -> None:
        """Fetch `partition` no more."""
        self._replication.unfollow(partition)

    def begin_anew(self) -> None:
        """This broker has another broker epoch: the leader must hear it for every partition."""
        self._abandon()
        self.resume()

    def resume(self) -> None:
        """What kept it from asking may be over: this broker is registered, or the leader has another address."""
        address = self._locate(self._leader_id)
        if any((link.host, link.port) != address for link in self._links):
            self._abandon()
        if not self._in_flight:
            self._resting_until = self._reconnect_s = 0.0
            self._ask_at(0.0)

    async def stop(self) -> None:
        """Give up everything in flight and close the connections."""
        self._stopped = True
        self._membership.unreachable.discard(self._leader_id)
        self._cancel_timer()
        tasks: list[asyncio.Task[Any]] = [*self._in_flight.values()]
        if self._locating is not None:
            tasks.append(self._locating)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for link in self._links:
            link.close()

    # --- asking ------------------------------------------------------------------------------------------------

    def _ask_at(self, instant: float) -> None:
        """Ask at `instant` of the monotonic clock, or in the next turn of the loop when that is past."""
        self._cancel_timer()
        delay = max(instant - self._env.clock.monotonic(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if not self._in_flight or (len(self._in_flight) == 1 and self._replication.may_overtake):
            self._ask()

    def _ask(self) -> None:
        """Send the next request, or come back when there is something to ask."""
        now = self._env.clock.monotonic()
        if self._stopped or self._membership.broker_epoch < 0:
            return
        if now < self._resting_until:
            self._ask_at(self._resting_until)
            return
        link = self._free_link()
        request = None if link is None else self._replication.next_request(self._membership.broker_epoch, now)
        if link is None or request is None:
            ready = self._replication.next_ready()
            if ready is not None:
                self._ask_at(ready)
            return
        sending = link.send(request, timeout_ms=self._timeout_ms, max_version=FETCH_VERSION)
        task = asyncio.get_running_loop().create_task(sending)
        self._in_flight[link] = task
        number = self._replication.request_number
        task.add_done_callback(lambda done: self._answered(link, number, done))

    def _free_link(self) -> Link | None:
        """A connection to the leader that is not busy; None where its address is unknown, or both are."""
        for link in self._links:
            if link not in self._in_flight:
                return link
        address = self._locate(self._leader_id)
        if address is None or len(self._links) == 2:
            return None
        link = Link(self._env, *address, client_id=f"broker-{self._membership.node_id}-fetcher")
        self._links.append(link)
        return link

    def _abandon(self) -> None:
        """Give up both connections and whatever is in flight on them; the session begins anew."""
        for task in self._in_flight.values():
            task.cancel()
        self._in_flight.clear()
        for link in self._links:
            link.close()
        self._links.clear()
        self._replication.failed()

    # --- answers -----------------------------------------------------------------------------------------------

    def _answered(self, link: Link, number: int, done: asyncio.Task[Any]) -> None:
        if self._in_flight.get(link) is done:
            del self._in_flight[link]
        if done.cancelled() or self._stopped:
            return
        now = self._env.clock.monotonic()
        try:
            self._take(link, number, done.result(), now)
        except (LinkError, ProtocolError) as error:
            self._rest(error, now)
        except Exception as error:  # noqa: BLE001  a defect of ours must not end replication from this leader
            _log.exception("cannot take what broker %d sent", self._leader_id)
            self._rest(error, now)
        if not self._in_flight:
            self._cancel_timer()
            self._ask()

    def _take(self, link: Link, number: int, response: FetchResponse, now: float) -> None:
        self._reconnect_s = 0.0
        self._membership.unreachable.discard(self._leader_id)
        for partition in self._replication.answered(number, response, now):
            self._settle(partition)
        if self._locating is None and self._replication.lost():
            self._locating = asyncio.get_running_loop().create_task(self._locate_lost(link))

    def _make_durable(self, partition: Partition, offset: int) -> None:
        """The flush policy wants the records on the device before they are promised."""
        loop = asyncio.get_running_loop()

        def done(flush: Future[int]) -> None:
            if flush.exception() is None:  # else the directory is offline, and nothing is promised any more
                loop.call_soon_threadsafe(self._made_durable, partition)

        self._flush(partition, offset).add_done_callback(done)

    def _made_durable(self, partition: Partition) -> None:
        self._replication.flushed(partition)
        if not self._stopped and not self._in_flight:
            self._ask_at(0.0)
        elif not self._stopped and self._timer is None:
            self._ask_at(self._env.clock.monotonic() + OVERTAKE_AFTER_S)

    def _rest(self, error: Exception, now: float) -> None:
        """The connection failed: begin again in a while."""
        self._abandon()
        self._membership.unreachable.add(self._leader_id)
        self._reconnect_s = min(max(self._reconnect_s * 2, FIRST_RECONNECT_S), self._max_reconnect_s)
        self._resting_until = now + self._reconnect_s
        _log.debug("fetching from broker %d rests for %g s: %s", self._leader_id, self._reconnect_s, error)

    async def _locate_lost(self, link: Link) -> None:
        """Ask where the leader's logs begin and end, for partitions whose offset it does not have."""
        try:
            lost = self._replication.lost()
            ends = await self._list_offsets(link, lost, LATEST)
            starts = await self._list_offsets(link, lost, EARLIEST)
        except (LinkError, ProtocolError) as error:
            _log.debug("cannot look up offsets at broker %d: %s", self._leader_id, error)
            ends = starts = {}
        finally:
            self._locating = None
        now = self._env.clock.monotonic()
        for partition in lost:
            key = (partition.topic, partition.index)
            if key not in ends or key not in starts:
                self._replication.not_located(partition, now)
            elif self._replication.located(partition, starts[key], ends[key], now):
                self._settle(partition)
        if not self._in_flight or self._timer is None:
            self._ask_at(now)

    async def _list_offsets(
        self, link: Link, partitions: list[Partition], timestamp: int
    ) -> dict[tuple[str, int], int]:
        asked = ListOffsetsRequest.Topic.Partition
        topics: dict[str, list[ListOffsetsRequest.Topic.Partition]] = {}
        for partition in partitions:
            topics.setdefault(partition.topic, []).append(
                asked(
                    partition_index=partition.index,
                    current_leader_epoch=partition.leader_epoch,
                    timestamp=timestamp,
                )
            )
        request = ListOffsetsRequest(
            replica_id=self._membership.node_id,
            topics=[ListOffsetsRequest.Topic(name=n, partitions=p) for n, p in topics.items()],
        )
        response: ListOffsetsResponse = await link.send(
            request, timeout_ms=self._timeout_ms, max_version=LIST_OFFSETS_VERSION
        )
        return {
            (topic.name, answer.partition_index): answer.offset
            for topic in response.topics
            for answer in topic.partitions
            if answer.error_code == ErrorCode.NONE
        }


class Fetchers:
    """All replica fetchers of this broker, by leader; `replicas.Followed` for the replica manager.

    Args:
        env: clock and network.
        config: the replica.fetch.* properties.
        membership: who we are, and where the others listen.
        listener: the name of the inter-broker listener.
        settle: called with each partition whose log moved (`ReplicaManager.settle`).
        flush: makes a partition's log durable up to an offset (`LogManager.flushed`).
    """

    def __init__(
        self,
        env: Env,
        config: Config,
        membership: Membership,
        listener: str,
        settle: Callable[[Partition], None],
        flush: Flush,
    ) -> None:
        self._env = env
        self._membership = membership
        self._listener = listener
        self._settle = settle
        self._flush = flush
        self._timeout_ms = config.int("replica.socket.timeout.ms")
        self._options = FetchOptions(
            max_wait_ms=config.int("replica.fetch.wait.max.ms"),
            min_bytes=config.int("replica.fetch.min.bytes"),
            max_bytes=config.int("replica.fetch.max.bytes"),
            response_max_bytes=config.int("replica.fetch.response.max.bytes"),
            backoff_s=config.int("replica.fetch.backoff.ms") / 1000,
        )
        self._fetchers: dict[int, ReplicaFetcher] = {}
        self._leaders: dict[Partition, int] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._stopped = False

    def follow(self, partition: Partition) -> None:
        """Fetch it from its leader from now on; anew where it was fetched already. Nothing after `stop`."""
        self.unfollow(partition)
        if self._stopped:
            return  # metadata goes on while a broker takes its leave, but its logs are about to be closed
        leader = partition.leader_id
        fetcher = self._fetchers.get(leader)
        if fetcher is None:
            fetcher = self._fetchers[leader] = ReplicaFetcher(
                self._env,
                leader,
                self._membership,
                self._address_of,
                self._options,
                self._timeout_ms,
                self._settle,
                self._flush,
            )
        self._leaders[partition] = leader
        fetcher.follow(partition)

    def unfollow(self, partition: Partition) -> None:
        """Fetch it no more; fine where it was not."""
        leader = self._leaders.pop(partition, None)
        if leader is not None:
            self._fetchers[leader].unfollow(partition)

    def brokers_changed(self, broker_ids: Iterable[int]) -> None:
        """These brokers registered, went, or moved: what rested may be worth another try."""
        for broker_id in broker_ids:
            fetcher = self._fetchers.get(broker_id)
            if fetcher is not None:
                fetcher.resume()

    def drop_idle(self) -> None:
        """Close fetchers that have nothing to fetch; after each run of metadata."""
        for leader in [leader for leader, fetcher in self._fetchers.items() if not len(fetcher)]:
            task = asyncio.get_running_loop().create_task(self._fetchers.pop(leader).stop())
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    def registered(self) -> None:
        """This broker has a broker epoch to fetch with, or another one than before."""
        for fetcher in self._fetchers.values():
            fetcher.begin_anew()

    async def stop(self) -> None:
        """Fetch nothing any more, whatever the metadata says."""
        self._stopped = True
        fetchers, self._fetchers = self._fetchers, {}
        self._leaders.clear()
        await asyncio.gather(*(fetcher.stop() for fetcher in fetchers.values()), *self._stopping)

    def _address_of(self, broker_id: int) -> tuple[str, int] | None:
        broker = self._membership.cluster.brokers.get(broker_id)
        endpoint = None if broker is None else broker.listeners.get(self._listener)
        return None if endpoint is None else (endpoint.host, endpoint.port)
