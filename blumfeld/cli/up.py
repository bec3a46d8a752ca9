"""`blumfeld up`: one broker in this process, or several in processes of their own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from blumfeld.cli import sources

if TYPE_CHECKING:
    from blumfeld.launch.plan import Plan

DEFAULT_PORT = 9092


@click.command("up")
@click.option("--brokers", type=click.IntRange(1, 50), help="How many brokers; more than one: a process each.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"Port of the first broker; 0: any.  [default: {DEFAULT_PORT}]"
)
@click.option("--data", type=click.Path(file_okay=False), help="Keep data here; without it they are in memory.")
@click.option("--node", type=int, help="Start only this broker of the cluster in --data.")
@click.option("--profile", type=sources.profile_type, default=None, help="Defaults to start from.  [default: dev]")
@sources.config_file
@sources.settings
@click.option("--ready-file", type=click.Path(dir_okay=False), help="Written once produce and group join work.")
@click.option("--restart", is_flag=True, help="With several brokers: start one again that ended by itself.")
@click.option("--plan", "plan_file", type=click.Path(exists=True, dir_okay=False), hidden=True)
@click.option("--stop-with-stdin", is_flag=True, hidden=True)
@click.option("--own-foreground", is_flag=True, hidden=True, help="Ctrl-C is for us, not for who started us.")
def command(
    brokers: int | None,
    port: int | None,
    data: str | None,
    node: int | None,
    profile: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    ready_file: str | None,
    restart: bool,
    plan_file: str | None,
    stop_with_stdin: bool,
    own_foreground: bool,
) -> None:
    """Start a broker on 127.0.0.1:9092, or a cluster of them, and serve until Ctrl-C."""
    from blumfeld.launch import interpreter

    interpreter.prepare()
    from blumfeld.config.values import ConfigError
    from blumfeld.launch.errors import explain_os_error
    from blumfeld.launch.main import is_configured
    from blumfeld.launch.plan import PLAN_FILE, Plan, PlanError

    if own_foreground:
        from blumfeld.cli import terminal

        click.get_current_context().with_resource(terminal.own_foreground())
    try:
        if plan_file is None and node is not None:
            if data is None:
                raise click.UsageError("--node needs the --data of the cluster that it belongs to")
            plan_file = os.path.join(data, PLAN_FILE)
        if plan_file is not None:
            plan = Plan.load(plan_file)
            _run_one(plan, node or plan.nodes[0].id, plan.profile, config_file, settings, ready_file, stop_with_stdin)
            return
        if (brokers, port, data) == (None, None, None) and is_configured(config_file, settings):
            _run_one(None, 1, profile or "durable", config_file, settings, ready_file, stop_with_stdin)
            return
        plan = Plan.make(
            brokers=brokers,
            port=DEFAULT_PORT if port is None and not _is_kept(data) else port or 0,
            data=data,
            profile=profile or "dev",
            settings=settings,
        )
        if data is not None:
            plan.keep(data)
        if len(plan.nodes) == 1:
            _run_one(plan, 1, plan.profile, config_file, (), ready_file, stop_with_stdin)
        else:
            _run_all(plan, data, ready_file, restart)
    except (PlanError, ConfigError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(explain_os_error(error)) from error


def _is_kept(data: str | None) -> bool:
    from blumfeld.launch.plan import PLAN_FILE

    return data is not None and os.path.exists(os.path.join(data, PLAN_FILE))


def _run_one(
    plan: Plan | None,
    node_id: int,
    profile: str,
    config_file: str | None,
    settings: tuple[str, ...],
    ready_file: str | None,
    stop_with_stdin: bool,
) -> None:
    from blumfeld.launch.errors import StartError
    from blumfeld.launch.main import serve

    try:
        code = serve(
            plan,
            node_id,
            profile=profile,
            config_file=config_file,
            settings=settings,
            ready_file=ready_file,
            stop_with_stdin=stop_with_stdin,
        )
    except StartError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


def _run_all(plan: Plan, data: str | None, ready_file: str | None, restart: bool) -> None:
    import contextlib
    import shutil
    import tempfile

    from blumfeld.cli.progress import Bar
    from blumfeld.launch import interpreter
    from blumfeld.launch.plan import PLAN_FILE
    from blumfeld.launch.process import StartFailed
    from blumfeld.launch.ready import Ready
    from blumfeld.launch.supervisor import Supervisor

    interpreter.resume()
    if ready_file is not None:
        Ready.withdraw(ready_file)
    scratch = tempfile.mkdtemp(prefix="blumfeld-")
    try:
        if data is None:
            plan.save(os.path.join(scratch, PLAN_FILE))
        supervisor = Supervisor(plan, os.path.join(data or scratch, PLAN_FILE), scratch, restart=restart)
        try:
            with Bar("starting", len(plan.nodes), "brokers") as bar:
                ready = supervisor.start(bar.advance)
        except StartFailed as error:
            raise click.ClickException(str(error)) from error
        if ready is None:
            sys.exit(0)
        try:
            if ready_file is not None:
                ready.write(ready_file)
            where = "memory (gone on exit)" if data is None else data
            with contextlib.suppress(OSError):  # whoever read it has gone: that ends nobody
                click.echo(
                    f"blumfeld  {len(ready.brokers)} brokers ready\n"
                    f"  bootstrap  {ready.bootstrap_servers}\n  data  {where}"
                )
            supervisor.watch()
        finally:
            code = supervisor.stop()
        sys.exit(code)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
