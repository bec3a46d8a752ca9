"""What `up` is about to run: the nodes of one cluster, their ports, identities and directories.

Owns the file that keeps this between starts (`DIR/cluster.json`), so that the same directory starts the same cluster:
same cluster id, same directory ids, same ports. Broker *i* (1…N) listens on port P+i−1, or a free port each for P = 0,
and keeps its files in DIR/*i*. Every node is broker and controller at once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from blumfeld.config.listeners import parse_listeners
from blumfeld.config.values import ConfigError
from blumfeld.env.disk import DiskBusy, RealDisk, make_durable_directories
from blumfeld.env.entropy import SystemEntropy
from blumfeld.launch.ports import free_port
from blumfeld.protocol.primitives import uuid_from_text, uuid_to_text
from blumfeld.storage.checkpoint import LOCK, META_PROPERTIES, decode_properties

if TYPE_CHECKING:
    from blumfeld.config.sources import Config

PLAN_FILE = "cluster.json"
LOOPBACK = "127.0.0.1"


CLUSTER_IDS = "ASCII letters, digits and signs, without blanks and backslashes"


def is_cluster_id(text: str) -> bool:
    """Whether it stays itself in meta.properties: Apache Kafka's own are UUIDs, but it takes others as well."""
    return text.isascii() and text.isprintable() and not set(text) & {" ", "\\"}


class PlanError(ValueError):
    """The plan asked for contradicts the directory, or itself. The message says what to do."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node."""

    id: int
    host: str
    port: int
    controller_port: int
    directory_id: bytes
    directory: str | None
    """Where its logs are; None: in memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One cluster."""

    cluster_id: str
    profile: str
    settings: tuple[str, ...]
    """`name=value` for every node, as given by `--set`."""
    nodes: tuple[NodePlan, ...]

    @classmethod
    def make(
        cls,
        *,
        brokers: int | None = None,
        port: int = 0,
        data: str | None = None,
        host: str = LOOPBACK,
        profile: str = "dev",
        settings: tuple[str, ...] = (),
        cluster_id: str | None = None,
    ) -> Plan:
        """A new plan, or the one that `data` keeps with this call's profile and settings.

        Raises PlanError where `data` keeps a cluster of another size or id, OSError where no port is free.
        """
        if data is not None and os.path.exists(os.path.join(data, PLAN_FILE)):
            kept = cls.load(os.path.join(data, PLAN_FILE))
            if brokers is not None and brokers != len(kept.nodes):
                raise PlanError(
                    f"{data} holds a cluster of {len(kept.nodes)} broker(s), not {brokers}:"
                    " leave --brokers out, or choose another --data"
                )
            if cluster_id not in (None, kept.cluster_id):
                raise PlanError(f"{data} holds the cluster {kept.cluster_id}, not {cluster_id}: choose another --data")
            nodes = kept.nodes if port == 0 else tuple(replace(n, port=port + n.id - 1) for n in kept.nodes)
            return replace(kept, profile=profile, settings=settings, nodes=nodes)
        entropy = SystemEntropy()
        count = brokers or 1
        taken: set[int] = {port + i for i in range(count)} if port else set()
        planned = []
        for node_id in range(1, count + 1):
            client_port = port + node_id - 1 if port else _take(host, taken)
            directory = None if data is None else os.path.join(os.path.abspath(data), str(node_id))
            planned.append(NodePlan(node_id, host, client_port, _take(LOOPBACK, taken), entropy.uuid(), directory))
        return cls(cluster_id or uuid_to_text(entropy.uuid()), profile, settings, tuple(planned))

    @classmethod
    def load(cls, path: str) -> Plan:
        """Read a plan file. Raises PlanError where it does not read as one, and OSError."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls._read(json.load(file), os.path.dirname(os.path.abspath(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(
                f"{path} does not read as a cluster's plan ({type(error).__name__}: {error}):"
                " put it back from a backup, or choose another --data"
            ) from error

    @classmethod
    def _read(cls, found: dict[str, Any], home: str) -> Plan:
        nodes = tuple(
            NodePlan(
                id=int(node["id"]),
                host=str(node["host"]),
                port=int(node["port"]),
                controller_port=int(node["controller_port"]),
                directory_id=uuid_from_text(node["directory_id"]),
                directory=os.path.join(home, str(node["id"])) if found["durable"] else None,
            )
            for node in found["nodes"]
        )
        if not nodes:
            raise ValueError("it has no nodes")
        return cls(str(found["cluster_id"]), str(found["profile"]), tuple(found["settings"]), nodes)

    @classmethod
    def configured(cls, config: Config, cluster_id: str | None, profile: str) -> Plan:
        """The plan of one node that properties describe whole: id, listeners, directories, quorum.

        Raises ConfigError where listeners contradict each other, or the cluster's id is none.
        """
        if cluster_id is not None and not is_cluster_id(cluster_id):
            raise ConfigError("the cluster's id", cluster_id, "CLUSTER_ID", CLUSTER_IDS)
        entropy = SystemEntropy()
        listeners = parse_listeners(config)
        client = listeners.broker[0] if listeners.broker else None
        directory = config.log_dirs[0] if config.is_given("log.dirs") or config.is_given("log.dir") else None
        node = NodePlan(
            id=config.node_id if config.node_id is not None else 1,
            host=client.host if client else LOOPBACK,
            port=client.port if client else 0,
            controller_port=listeners.controller[0].port if listeners.controller else 0,
            directory_id=entropy.uuid(),
            directory=directory,
        )
        kept = None if directory is None else _kept_cluster_id(directory)
        return cls(cluster_id or kept or uuid_to_text(entropy.uuid()), profile, (), (node,))

    def save(self, path: str) -> None:
        """Write the plan file, complete or not at all; durable on return."""
        text = {
            "cluster_id": self.cluster_id,
            "profile": self.profile,
            "settings": list(self.settings),
            "durable": all(node.directory is not None for node in self.nodes),
            "nodes": [
                {
                    "id": node.id,
                    "host": node.host,
                    "port": node.port,
                    "controller_port": node.controller_port,
                    "directory_id": uuid_to_text(node.directory_id),
                }
                for node in self.nodes
            ],
        }
        disk, path = RealDisk(), os.path.abspath(path)
        make_durable_directories(disk, os.path.dirname(path))
        disk.write_file_atomically(path, f"{json.dumps(text, indent=2)}\n".encode())

    def keep(self, data: str) -> None:
        """Write the plan file of `data`, unless one of the nodes runs there: nothing is to change under it.

        Raises PlanError, and OSError.
        """
        for node in self.nodes:
            lock = None if node.directory is None else os.path.join(node.directory, LOCK)
            if lock is None or not os.path.exists(lock):
                continue
            try:
                RealDisk().lock(lock).release()
            except DiskBusy:
                raise PlanError(
                    f"broker {node.id} of {data} is running already ({lock} is held): stop it first,"
                    " or choose another --data"
                ) from None
        self.save(os.path.join(data, PLAN_FILE))

    def node(self, node_id: int) -> NodePlan:
        """The node of that id. Raises PlanError where there is none."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise PlanError(f"there is no broker {node_id}: this cluster has 1 to {len(self.nodes)}")

    def properties(self, node_id: int) -> dict[str, str]:
        """The broker properties that this plan decides for one node."""
        node = self.node(node_id)
        factor = str(min(3, len(self.nodes)))
        host = f"[{node.host}]" if ":" in node.host else node.host
        properties = {
            "node.id": str(node.id),
            "process.roles": "broker,controller",
            "listeners": f"PLAINTEXT://{host}:{node.port}",
            "offsets.topic.replication.factor": factor,
            "transaction.state.log.replication.factor": factor,
            "default.replication.factor": factor,
        }
        if len(self.nodes) > 1:  # a quorum of one needs no address: nobody else is to reach it
            properties["listeners"] += f",CONTROLLER://{LOOPBACK}:{node.controller_port}"
            properties["controller.listener.names"] = "CONTROLLER"
        if node.directory is not None:
            properties["log.dirs"] = node.directory
        return properties


def _kept_cluster_id(directory: str) -> str | None:
    try:
        with open(os.path.join(directory, META_PROPERTIES), "rb") as file:
            return decode_properties(file.read()).get("cluster.id")
    except FileNotFoundError:
        return None


def _take(host: str, taken: set[int]) -> int:
    port = free_port(host, taken)
    taken.add(port)
    return port
