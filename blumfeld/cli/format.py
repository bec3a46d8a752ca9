"""`blumfeld format`: directories become a node's, or a cluster's, before its first start; `up` does so by itself.

Takes what Apache Kafka's `kafka-storage.sh format` takes, as far as there is a choice here: the first voters of a
quorum (KIP-853) are said with `--initial-controllers`, to every controller alike.
"""

from __future__ import annotations

import click

from blumfeld.cli import sources


def _cluster_id(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from blumfeld.launch.plan import CLUSTER_IDS, is_cluster_id

    if value is not None and not is_cluster_id(value):
        raise click.BadParameter(f"not {CLUSTER_IDS}")
    return value


@click.command("format")
@click.option(
    "--cluster-id", envvar="CLUSTER_ID", callback=_cluster_id, help="The cluster's id.  [default: a new UUID in base64]"
)
@click.option("--brokers", type=click.IntRange(1, 50), help="Format a whole cluster of so many in --data.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of its first broker; 0: any.")
@click.option("--data", type=click.Path(file_okay=False), help="The directory of that cluster.")
@click.option("--profile", type=sources.profile_type, default=None, help="Defaults to start from.")
@sources.config_file
@sources.settings
@click.option("--initial-controllers", metavar="ID@HOST:PORT:DIRECTORY-ID,…", help="The first voters of the quorum.")
@click.option("--no-initial-controllers", is_flag=True, help="The quorum is there, or others are its first voters.")
@click.option("--ignore-formatted", is_flag=True, help="Leave alone what is formatted, and format the rest.")
def command(
    cluster_id: str | None,
    brokers: int | None,
    port: int,
    data: str | None,
    profile: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    initial_controllers: str | None,
    no_initial_controllers: bool,
    ignore_formatted: bool,
) -> None:
    """Format the log directories of one node that properties describe, or of a cluster in --data."""
    from blumfeld.cluster.raft.voters import NO_VOTERS
    from blumfeld.config.values import ConfigError
    from blumfeld.env.environment import Env
    from blumfeld.launch.errors import StartError, explain_os_error
    from blumfeld.launch.formatting import format_node, parse_initial_controllers
    from blumfeld.launch.main import resolve
    from blumfeld.launch.plan import Plan, PlanError

    if initial_controllers is not None and no_initial_controllers:
        raise click.UsageError("--initial-controllers and --no-initial-controllers contradict each other")
    if data is None and (brokers is not None or port):
        raise click.UsageError("--brokers and --port belong to --data")
    try:
        voters = NO_VOTERS if no_initial_controllers else None
        if initial_controllers is not None:
            voters = parse_initial_controllers(initial_controllers)
        plan = None
        if data is not None:
            plan = Plan.make(brokers=brokers, port=port, data=data, profile=profile or "dev", cluster_id=cluster_id)
            plan.keep(data)
        for node_id in [1] if plan is None else [node.id for node in plan.nodes]:
            known, own_id, config = resolve(
                plan,
                node_id,
                profile=profile or "durable",
                config_file=config_file,
                settings=settings,
                cluster_id=cluster_id,
            )
            if not config.is_given("log.dirs") and not config.is_given("log.dir"):
                raise StartError("log.dirs is not set: there is nothing to format")
            made = format_node(known, own_id, config, Env.real(), voters=voters, ignore_formatted=ignore_formatted)
            for path in made:
                click.echo(f"formatted {path} for node {own_id} of cluster {known.cluster_id}")
    except (StartError, PlanError, ConfigError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(explain_os_error(error)) from error
