"""`blumfeld groups`: list groups, or show one with its lag."""

from __future__ import annotations

import click

from blumfeld.cli.session import client_command, show
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.groups import Groups


@click.command("groups")
@click.argument("group", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@client_command
async def command(cluster: ClusterClient, group: str | None, as_json: bool) -> None:
    """List groups; with GROUP: what it has committed, and how far it is behind."""
    groups = Groups(cluster)
    if group is None:
        rows = [(g.group_id, g.group_state, g.protocol_type) for g in await groups.listed()]
        show(sorted(rows), ("group", "state", "protocol"), as_json=as_json)
        return
    show(
        [
            (lag.topic, lag.partition, lag.committed if lag.committed >= 0 else "-", lag.end, lag.lag)
            for lag in await groups.lags(group)
        ],
        ("topic", "partition", "committed", "end", "lag"),
        as_json=as_json,
    )
