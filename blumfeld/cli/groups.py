"""`blumfeld groups`: list groups, or show one with its lag."""

from __future__ import annotations

import sys
from difflib import get_close_matches

import click

from blumfeld.cli.completion import groups as groups_like
from blumfeld.cli.session import NOTHING, client_command, show
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.groups import Groups


@click.command("groups")
@click.argument("group", required=False, shell_complete=groups_like)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@client_command
async def command(cluster: ClusterClient, group: str | None, as_json: bool) -> None:
    """List groups; with GROUP: what it has committed, and how far it is behind."""
    groups = Groups(cluster)
    listed = {g.group_id: g for g in await groups.listed()}
    if group is None:
        rows = sorted((g.group_id, g.group_state, g.protocol_type) for g in listed.values())
        show(rows, ("group", "state", "protocol"), as_json=as_json, nothing="no groups")
        return
    if group not in listed:
        close = get_close_matches(group, listed, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "`blumfeld groups` lists those that there are"
        raise click.ClickException(f"there is no group {group}\n{hint}")
    if sys.stdout.isatty() and not as_json:
        click.echo(f"{group}  {listed[group].group_state}\n")
    show(
        [
            (lag.topic, lag.partition, lag.committed if lag.committed >= 0 else NOTHING, lag.end, lag.lag)
            for lag in await groups.lags(group)
        ],
        ("topic", "partition", "committed", "end", "lag"),
        as_json=as_json,
        nothing="nothing is committed",
    )
