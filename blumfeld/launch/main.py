"""One node as a process: event loop, signals, logging, readiness, exit code.

Owns the process’s life from arguments to exit code. SIGTERM and SIGINT stop cleanly with exit code 0; so does the
end of standard input where the parent asked for that. A second signal ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from blumfeld.config.listeners import check_protocols, check_roles, parse_bootstrap, parse_voters
from blumfeld.config.sources import load
from blumfeld.config.values import ConfigError
from blumfeld.launch import interpreter
from blumfeld.launch.errors import StartError, explain, explain_os_error, start_failures
from blumfeld.launch.log_limit import LogLimit
from blumfeld.launch.open_files import bound_open_files, raise_open_files
from blumfeld.launch.plan import Plan
from blumfeld.launch.ready import Ready, ReadyBroker

if TYPE_CHECKING:
    from blumfeld.config.sources import Config
    from blumfeld.launch.node import Node

_log = logging.getLogger("blumfeld")

EXIT_FAULT = 70
NICE_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s"


def serve(
    plan: Plan | None,
    node_id: int = 1,
    *,
    profile: str = "durable",
    config_file: str | None = None,
    settings: Sequence[str] = (),
    ready_file: str | None = None,
    stop_with_stdin: bool = False,
) -> int:
    """Run one node until it is told to stop; the process's exit code. Raises StartError.

    Without a plan, file, environment and settings describe the node whole, on top of `profile`.
    """
    started = time.monotonic()
    _set_up_logging()
    plan, node_id, config = resolve(plan, node_id, profile=profile, config_file=config_file, settings=settings)
    config = bound_open_files(config, raise_open_files())
    for warning in config.warnings:
        _log.warning("%s", warning)
    if ready_file is not None:
        Ready.withdraw(ready_file)
    return _run(_serve(plan, node_id, config, ready_file, stop_with_stdin, started))


def resolve(
    plan: Plan | None,
    node_id: int,
    *,
    profile: str,
    config_file: str | None,
    settings: Sequence[str],
    cluster_id: str | None = None,
) -> tuple[Plan, int, Config]:
    """The plan, the node's id and its configuration; without a plan, properties describe both. Raises StartError."""
    try:
        if plan is None:
            config = _load(profile, config_file, settings)
            plan = Plan.configured(config, cluster_id or os.environ.get("CLUSTER_ID"), profile)
            node_id = plan.nodes[0].id
        else:
            config = _load(plan.profile, config_file, (*plan.settings, *settings), plan, node_id)
            _check_node_id(config, node_id)
        check_roles(config, node_id)
        check_protocols(config)
    except ConfigError as error:
        raise StartError(str(error)) from error
    return plan, node_id, config


def _check_node_id(config: Config, planned: int) -> None:
    """A plan numbers its nodes itself: another id in the properties would be shown, and not be the node's."""
    allowed = f"left out where --brokers, --port or --data make the plan of nodes: this is node {planned} of it"
    for name in ("node.id", "broker.id"):
        if config.is_given(name) and config.int(name) != planned:
            raise ConfigError(name, config.text(name), config.origin(name), allowed)


def _load(
    profile: str, config_file: str | None, settings: Sequence[str], plan: Plan | None = None, node_id: int = 1
) -> Config:
    file = None
    if config_file is not None:
        with open(config_file, encoding="utf-8") as source:
            file = (config_file, source.read())
    if plan is not None:
        brokers, planned = len(plan.nodes), plan.properties(node_id)
    else:
        given = load(profile="none", file=file, environment=os.environ, settings=settings)
        brokers, planned = max(len(parse_voters(given)), len(parse_bootstrap(given)), 1), None
    return load(profile=profile, brokers=brokers, planned=planned, file=file, environment=os.environ, settings=settings)


def is_configured(config_file: str | None, settings: Sequence[str]) -> bool:
    """Whether file, environment or settings say which node this is and where it listens. Raises ConfigError."""
    given = _load("none", config_file, settings)
    return any(given.is_given(name) for name in ("node.id", "process.roles", "listeners", "controller.quorum.voters"))


async def _serve(
    plan: Plan, node_id: int, config: Config, ready_file: str | None, stop_with_stdin: bool, started: float
) -> int:
    from blumfeld.launch.formatting import metadata_directory
    from blumfeld.launch.node import Node

    stopping = asyncio.Event()
    faults: list[str] = []

    def on_fault(what: str) -> None:
        faults.append(what)
        stopping.set()

    _listen_for_the_end(stopping, stop_with_stdin)
    node = Node(plan, node_id, config, on_fault)
    try:
        is_up = await _start(node, stopping)
    except start_failures() as error:
        why = faults[0] if faults else explain(error, metadata_directory(config))
        await _stop(node)
        raise StartError(why) from error
    if not is_up:
        await _stop(node)
        if faults:
            raise StartError(faults[0])
        return 0
    here = ReadyBroker(node_id, os.getpid(), node.host, node.port)
    try:
        if ready_file is not None:
            Ready(node.cluster_id, (here,) if node.is_broker else ()).write(ready_file)
    except OSError as error:
        await _stop(node)
        raise StartError(explain_os_error(error)) from error
    _greet(here, node.is_broker, config, time.monotonic() - started)
    interpreter.resume()
    await stopping.wait()
    is_clean = await _stop(node)
    if faults:
        _log.critical("stopped: %s", faults[0])
    return 0 if is_clean and not faults else EXIT_FAULT


async def _start(node: Node, stopping: asyncio.Event) -> bool:
    """Whether the node is up: not where it was told to stop before, or could not go on."""
    starting, told = asyncio.ensure_future(node.start()), asyncio.ensure_future(stopping.wait())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.wait({starting})
    if not starting.cancelled() and (error := starting.exception()) is not None:
        raise error
    return False


async def _stop(node: Node) -> bool:
    """Whether all could be closed. What the disk refused is said; the next start recovers from it."""
    try:
        await node.stop()
    except OSError as error:
        _log.error("not closed cleanly: %s", explain_os_error(error))
        return False
    return True


def _greet(here: ReadyBroker, is_broker: bool, config: Config, elapsed_s: float) -> None:
    import blumfeld

    where = ", ".join(config.log_dirs) if config.is_given("log.dirs") else "memory (gone on exit)"
    topics = "auto-created" if config.bool("auto.create.topics.enable") else "created by hand"
    address = f"bootstrap  {here.address}" if is_broker else f"controller  {here.address}"
    first = f"blumfeld {blumfeld.__version__}  node {here.id}  ready in {elapsed_s:.2f} s"
    second = f"  {address}      data  {where}" + (f"      topics  {topics}" if is_broker else "")
    try:
        print(f"{first}\n{second}", flush=True)  # noqa: T201  also where there is no output at all
    except OSError:  # whoever read it has gone, which ends no broker; nor is what is left to be written at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _listen_for_the_end(stopping: asyncio.Event, stop_with_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # event loops of Windows have none
            loop.add_signal_handler(number, _on_signal, stopping)
    if stop_with_stdin:
        descriptor = sys.stdin.fileno()

        def on_input() -> None:
            if not os.read(descriptor, 1024):
                loop.remove_reader(descriptor)
                stopping.set()

        loop.add_reader(descriptor, on_input)


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        os._exit(1)
    stopping.set()


def _set_up_logging() -> None:
    level = os.environ.get("BLUMFELD_LOG", "WARNING").upper()
    logging.basicConfig(level=level, format=NICE_FORMAT, datefmt="%H:%M:%S", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogLimit())


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return int(uvloop.run(main))
