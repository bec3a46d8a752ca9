"""The metadata replica of a node, from plan and properties: voters, options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blumfeld.cluster.raft.driver import PeerLinks, RaftDriver
from blumfeld.cluster.raft.options import RaftOptions
from blumfeld.cluster.raft.voters import Endpoint, ReplicaKey, Voter, VoterSet
from blumfeld.config.listeners import parse_bootstrap, parse_listeners, parse_voters
from blumfeld.launch.errors import StartError
from blumfeld.launch.formatting import first_voters, format_quorum, metadata_directory

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.env.environment import Env
    from blumfeld.launch.plan import Plan
    from blumfeld.storage.manager import LogManager


def make_raft(
    plan: Plan,
    node_id: int,
    config: Config,
    env: Env,
    logs: LogManager,
    links: PeerLinks,
    on_fault: Callable[[str], None],
) -> RaftDriver:
    """The raft replica of this node over its formatted directories. Raises StartError.

    The first of log.dirs is who the replica is, also where that is offline and the metadata log is elsewhere: by the
    id of another one, a voter would be none.
    """
    directory = metadata_directory(config)
    given = parse_voters(config)
    static = VoterSet(Voter(ReplicaKey(v.id), (Endpoint("CONTROLLER", v.host, v.port),)) for v in given)
    directory_id = logs.first_directory_id
    if not directory_id:
        if "controller" in config.list("process.roles"):
            raise StartError(f"{config.log_dirs[0]} says who this controller is, and cannot be read: repair it")
        directory_id = logs.directory_ids()[0]
    format_quorum(env, directory, first_voters(plan, node_id, config, directory_id))
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
