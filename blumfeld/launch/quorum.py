"""The metadata quorum of a node, from plan and properties: formatting, voters, options, links.

Owns what `format` does: a directory without `meta.properties` becomes this node's, with the ids of the plan, and a
quorum whose voters are known gets its checkpoint 0-0 (KIP-853). A directory that is formatted already stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blumfeld.cluster.link import Link
from blumfeld.cluster.raft.bootstrap import write_bootstrap_checkpoint
from blumfeld.cluster.raft.driver import RaftDriver
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from blumfeld.config.listeners import parse_bootstrap, parse_listeners, parse_voters
from blumfeld.env.paths import join
from blumfeld.protocol.primitives import uuid_to_text
from blumfeld.storage.checkpoint import META_PROPERTIES, encode_properties

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env
    from blumfeld.launch.plan import Plan
    from blumfeld.protocol.schema import Request
    from blumfeld.storage.manager import LogManager

METADATA_DIRECTORY = "__cluster_metadata-0"
BOOTSTRAP_CHECKPOINT = "00000000000000000000-0000000000.checkpoint"


class LinkCache:
    """Links to other nodes' controller listeners, by address."""

    def __init__(self, env: Env, client_id: str) -> None:
        self._env = env
        self._client_id = client_id
        self._links: dict[tuple[str, int], Link] = {}

    async def send(self, host: str, port: int, request: Request, *, timeout_ms: float) -> Any:
        """Send over the link to that address, made when first needed."""
        link = self._links.get((host, port))
        if link is None:
            link = self._links[host, port] = Link(self._env, host, port, client_id=self._client_id)
        return await link.send(request, timeout_ms=timeout_ms)

    def close(self) -> None:
        """Close every link."""
        for link in self._links.values():
            link.close()
        self._links.clear()


def format_directory(plan: Plan, node_id: int, config: Config, env: Env) -> None:
    """Give the first log directory the identity that the plan has for it, unless it has one already."""
    directory = config.log_dirs[0]
    path = join(directory, META_PROPERTIES)
    if env.disk.exists(path):
        return
    env.disk.make_directories(directory)
    identity = {
        "version": "1",
        "cluster.id": plan.cluster_id,
        "node.id": str(node_id),
        "directory.id": uuid_to_text(plan.node(node_id).directory_id),
    }
    env.disk.write_file_atomically(path, encode_properties(identity))


def metadata_directory(config: Config) -> str:
    """Where the metadata log is."""
    return join(config.optional_str("metadata.log.dir") or config.log_dirs[0], METADATA_DIRECTORY)


def make_raft(
    plan: Plan,
    node_id: int,
    config: Config,
    env: Env,
    logs: LogManager,
    links: LinkCache,
    on_fault: Callable[[str], None],
) -> RaftDriver:
    """The raft replica of this node over its formatted directories."""
    directory = metadata_directory(config)
    given = parse_voters(config)
    static = VoterSet(Voter(ReplicaKey(v.id), (Endpoint("CONTROLLER", v.host, v.port),)) for v in given)
    directory_id = logs.directory_ids()[0]
    if not given and not env.disk.exists(join(directory, BOOTSTRAP_CHECKPOINT)):
        voters = VoterSet(
            Voter(
                ReplicaKey(node.id, directory_id if node.id == node_id else node.directory_id),
                (Endpoint("CONTROLLER", node.host, node.controller_port),),
            )
            for node in plan.nodes
        )
        write_bootstrap_checkpoint(env.disk, directory, voters, now_ms=env.clock.time_ms())
    return RaftDriver(
        env,
        directory,
        node_id=node_id,
        directory_id=directory_id,
        cluster_id=plan.cluster_id,
        links=links,
        listeners=[Endpoint(e.name, e.host, e.port) for e in parse_listeners(config).controller_advertised],
        bootstrap=parse_bootstrap(config),
        static_voters=static if given else None,
        options=_options(config),
        on_fault=on_fault,
    )


def _options(config: Config) -> RaftOptions:
    return RaftOptions(
        election_timeout_ms=config.int("controller.quorum.election.timeout.ms"),
        fetch_timeout_ms=config.int("controller.quorum.fetch.timeout.ms"),
        election_backoff_max_ms=config.int("controller.quorum.election.backoff.max.ms"),
        request_timeout_ms=config.int("controller.quorum.request.timeout.ms"),
        retry_backoff_ms=config.int("controller.quorum.retry.backoff.ms"),
        segment_bytes=config.int("metadata.log.segment.bytes"),
        segment_ms=config.int("metadata.log.segment.ms"),
        snapshot_bytes=config.int("metadata.log.max.record.bytes.between.snapshots"),
        snapshot_interval_ms=config.int("metadata.log.max.snapshot.interval.ms"),
        retention_bytes=config.int("metadata.max.retention.bytes"),
        retention_ms=config.int("metadata.max.retention.ms"),
    )
