"""What makes directories a node's: `blumfeld format`, and the same without being told when a node starts.

Owns two files: `meta.properties` in each log directory, and checkpoint 0-0 of the metadata log, which holds the first
voters of a quorum (KIP-853). What is there already stays as it is.

Who the first voters are, where nobody says it: the nodes of the plan; of a node that properties describe, the node
itself, if it is a controller and its `controller.quorum.bootstrap.servers` name no other. A broker alone never has any,
nor has a quorum with `controller.quorum.voters` (kraft.version 0): it needs no such checkpoint.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from blumfeld.cluster.raft.bootstrap import write_bootstrap_checkpoint
from blumfeld.cluster.raft.checkpoint import file_name
from blumfeld.cluster.raft.outline import BOOTSTRAP_SNAPSHOT
from blumfeld.cluster.raft.voters import NO_VOTERS, Endpoint, ReplicaKey, Voter, VoterSet
from blumfeld.config.listeners import parse_bootstrap, parse_listeners, parse_voters, split_address
from blumfeld.env.disk import make_durable_directories
from blumfeld.env.paths import join
from blumfeld.launch.errors import StartError
from blumfeld.protocol.primitives import uuid_from_text, uuid_to_text
from blumfeld.storage.checkpoint import META_PROPERTIES, encode_properties

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.env.disk import Disk
    from blumfeld.env.environment import Env
    from blumfeld.launch.plan import Plan

METADATA_DIRECTORY = "__cluster_metadata-0"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def metadata_directory(config: Config) -> str:
    """Where the metadata log is."""
    return join(config.optional_str("metadata.log.dir") or config.log_dirs[0], METADATA_DIRECTORY)


def format_directory(plan: Plan, node_id: int, config: Config, env: Env) -> None:
    """Give the first log directory the identity that the plan has for it, unless it has one already."""
    directory = config.log_dirs[0]
    if not env.disk.exists(join(directory, META_PROPERTIES)):
        _identify(env.disk, directory, plan.cluster_id, node_id, plan.node(node_id).directory_id)


def format_quorum(env: Env, directory: str, voters: VoterSet) -> None:
    """Write checkpoint 0-0 with these voters, where there are any and no metadata log is yet."""
    if len(voters) and _is_blank(env.disk, directory):
        write_bootstrap_checkpoint(env.disk, directory, voters, now_ms=env.clock.time_ms())


def format_node(
    plan: Plan, node_id: int, config: Config, env: Env, *, voters: VoterSet | None, ignore_formatted: bool
) -> list[str]:
    """Format all directories of a node before its first start; the ones that were not formatted yet.

    Args:
        voters: the first voters of the quorum; None: whoever they are by the rule above.
        ignore_formatted: leave alone what is formatted. Otherwise a StartError is raised, and nothing changed.
    """
    own = None if voters is None else voters.get(node_id)
    if own is not None:
        nodes = tuple(replace(n, directory_id=own.key.directory_id) if n.id == node_id else n for n in plan.nodes)
        plan = replace(plan, nodes=nodes)
    fresh = [path for path in config.log_dirs if not env.disk.exists(join(path, META_PROPERTIES))]
    done = [path for path in config.log_dirs if path not in fresh]
    if done and not ignore_formatted:
        raise StartError(f"{done[0]} is formatted already: leave it alone with --ignore-formatted; nothing was changed")
    first, own_id = config.log_dirs[0], plan.node(node_id).directory_id
    if first in fresh:
        known = first_voters(plan, node_id, config, own_id) if voters is None else voters
        _undo_interrupted(env.disk, metadata_directory(config))
        format_quorum(env, metadata_directory(config), known)
    for path in fresh:
        _identify(env.disk, path, plan.cluster_id, node_id, own_id if path == first else env.entropy.uuid())
    return fresh


def first_voters(plan: Plan, node_id: int, config: Config, directory_id: bytes) -> VoterSet:
    """The voters of a new quorum by plan and properties; none where they are not this node's to say."""
    if "controller" not in config.list("process.roles") or parse_voters(config):
        return NO_VOTERS
    if len(plan.nodes) == 1 and not _is_own_quorum(config):
        return NO_VOTERS
    return VoterSet(
        Voter(
            ReplicaKey(node.id, directory_id if node.id == node_id else node.directory_id),
            (Endpoint("CONTROLLER", node.host, node.controller_port),),
        )
        for node in plan.nodes
    )


def parse_initial_controllers(text: str) -> VoterSet:
    """The voters of `id@host:port:directory-id,…`, as Apache Kafka's tool takes them. Raises StartError."""
    voters = {}
    for item in text.split(","):
        node, at, rest = item.strip().partition("@")
        address, colon, directory = rest.rpartition(":")
        host, port = split_address(address)
        try:
            key = ReplicaKey(int(node), uuid_from_text(directory))
        except ValueError:
            key = None
        if key is None or key.id in voters or not (at and colon and host and port):
            raise StartError(f"{item.strip()!r} is not id@host:port:directory-id with an id of its own")
        voters[key.id] = Voter(key, (Endpoint("CONTROLLER", host, port),))
    return VoterSet(voters.values())


def _is_own_quorum(config: Config) -> bool:
    """Whether no other controller is named: no bootstrap server, or one with our own address."""
    servers = parse_bootstrap(config)
    if not servers:
        return True
    listeners = parse_listeners(config)
    own = {(e.host, e.port) for e in (*listeners.controller, *listeners.controller_advertised)}
    hosts = {host for host, _ in own} | LOOPBACK | {socket.gethostname()}
    return len(servers) == 1 and servers[0][1] in {port for _, port in own} and servers[0][0] in hosts


def _identify(disk: Disk, directory: str, cluster_id: str, node_id: int, directory_id: bytes) -> None:
    make_durable_directories(disk, directory)
    identity = {
        "version": "1",
        "cluster.id": cluster_id,
        "node.id": str(node_id),
        "directory.id": uuid_to_text(directory_id),
    }
    disk.write_file_atomically(join(directory, META_PROPERTIES), encode_properties(identity))


def _undo_interrupted(disk: Disk, directory: str) -> None:
    """Remove first voters without an identity, which comes last: an earlier format did not come to its end. They name
    this node by a directory id that nobody has."""
    first = file_name(BOOTSTRAP_SNAPSHOT)
    if _log_files(disk, directory) == [first]:
        disk.remove(join(directory, first))


def _is_blank(disk: Disk, directory: str) -> bool:
    """Whether no replica has been at work in that directory."""
    return not _log_files(disk, directory)


def _log_files(disk: Disk, directory: str) -> list[str]:
    if not disk.exists(directory):
        return []
    return [name for name in disk.list(directory) if name.endswith((".log", ".checkpoint"))]
