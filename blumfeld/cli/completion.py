"""`blumfeld completion`: a shell's script for completing commands, options, topics, groups and properties.

Owns what a shell may be offered. A cluster is asked for names within a second; where it does not answer, nothing is
offered, and nothing is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from blumfeld.cli.session import DEFAULT_BOOTSTRAP
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import ClientError
from blumfeld.client.groups import Groups
from blumfeld.cluster.link import LinkError
from blumfeld.env.environment import Env

ASK_S = 1.0
VARIABLE = "_BLUMFELD_COMPLETE"
SHELLS = {
    "bash": 'eval "$(blumfeld completion bash)"            # in ~/.bashrc',
    "zsh": 'eval "$(blumfeld completion zsh)"             # in ~/.zshrc',
    "fish": "blumfeld completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(SHELLS.values()))
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, topics, groups and properties."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(context.find_root().command, {}, "blumfeld", VARIABLE).source())


def topics(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Topics that begin so."""

    async def ask(cluster: ClusterClient) -> list[str]:
        return [topic.name or "" for topic in (await cluster.metadata()).topics]

    return _asked(context, ask, incomplete)


def groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Groups that begin so."""

    async def ask(cluster: ClusterClient) -> list[str]:
        return [group.group_id for group in await Groups(cluster).listed()]

    return _asked(context, ask, incomplete)


def _asked(context: click.Context, ask: Callable[[ClusterClient], Awaitable[list[str]]], incomplete: str) -> list[str]:
    async def session() -> list[str]:
        servers = context.params.get("bootstrap") or DEFAULT_BOOTSTRAP
        cluster = ClusterClient(Env.real(), servers, client_id="blumfeld-completion", timeout_s=ASK_S)
        try:
            async with asyncio.timeout(ASK_S):
                return await ask(cluster)
        finally:
            await cluster.close()

    try:
        found = asyncio.run(session())
    except (ClientError, LinkError, ValueError, TimeoutError):
        return []
    return sorted(name for name in found if name.startswith(incomplete))
