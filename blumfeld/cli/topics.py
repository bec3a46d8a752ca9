"""`blumfeld topics`: list them, create one, delete one."""

from __future__ import annotations

import click

from blumfeld.cli.completion import topics as topics_like
from blumfeld.cli.session import bootstrap_option, client_command, pair, show
from blumfeld.client.cluster import ClusterClient


@click.group("topics", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.option("--internal", is_flag=True, help="Internal topics too.")
@bootstrap_option
@click.pass_context
def command(context: click.Context, as_json: bool, internal: bool, bootstrap: str) -> None:
    """List topics; with a subcommand: create or delete one."""
    if context.invoked_subcommand is None:
        context.invoke(list_topics, as_json=as_json, internal=internal, bootstrap=bootstrap)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@click.option("--internal", is_flag=True, help="Internal topics too.")
@client_command
async def list_topics(cluster: ClusterClient, as_json: bool, internal: bool) -> None:
    """List topics with their number of partitions and replicas."""
    found = await cluster.metadata()
    show(
        [
            (
                topic.name,
                len(topic.partitions),
                max((len(p.replica_nodes) for p in topic.partitions), default=0),
            )
            for topic in sorted(found.topics, key=lambda topic: topic.name or "")
            if internal or not topic.is_internal
        ],
        ("topic", "partitions", "replicas"),
        as_json=as_json,
        nothing="no topics yet: `blumfeld topics create NAME` makes one, and so does producing to it",
    )


@command.command("create")
@click.argument("name")
@click.option("-p", "--partitions", default=-1, help="How many; the cluster's default if left out.")
@click.option("-r", "--replication-factor", default=-1, help="Replicas of each; the cluster's default if left out.")
@click.option(
    "-c", "--config", "configs", multiple=True, type=pair, metavar="NAME=VALUE", help="A topic config; repeatable."
)
@client_command
async def create(
    cluster: ClusterClient, name: str, partitions: int, replication_factor: int, configs: tuple[tuple[str, str], ...]
) -> None:
    """Create a topic; returns once its leaders serve."""
    await cluster.create_topic(name, partitions, replication_factor, dict(configs))
    click.echo(f"created {name}")


@command.command("delete")
@click.argument("name", shell_complete=topics_like)
@client_command
async def delete(cluster: ClusterClient, name: str) -> None:
    """Delete a topic and its records."""
    await cluster.delete_topic(name)
    click.echo(f"deleted {name}")
