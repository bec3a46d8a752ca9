"""`blumfeld health`: whether the node of the same properties and environment serves. A container's health check.

A broker holds requests until it is unfenced, so that an answer says more than an open port.
"""

from __future__ import annotations

import click

from blumfeld.cli import sources

EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  recognised, not bound


@click.command("health")
@click.option("--profile", type=sources.profile_type, default="durable", show_default=True)
@sources.config_file
@sources.settings
@click.option("--timeout", "timeout_s", type=float, default=2.5, show_default=True, help="Seconds.")
def command(profile: str, config_file: str | None, settings: tuple[str, ...], timeout_s: float) -> None:
    """Exit with 0 where the node that this environment describes answers on its first listener, else with 1."""
    import asyncio

    from blumfeld.cluster.link import Link, LinkError
    from blumfeld.config.listeners import parse_listeners
    from blumfeld.config.values import ConfigError
    from blumfeld.env.environment import Env
    from blumfeld.launch.errors import StartError
    from blumfeld.launch.main import resolve
    from blumfeld.protocol.errors import ProtocolError

    try:
        config = resolve(None, 1, profile=profile, config_file=config_file, settings=settings)[2]
        listeners = parse_listeners(config)
    except (StartError, ConfigError) as error:
        raise click.ClickException(str(error)) from error
    endpoint = (listeners.broker or listeners.controller)[0]
    host = "127.0.0.1" if endpoint.host in EVERY_ADDRESS else endpoint.host

    async def ask() -> None:
        link = Link(Env.real(), host, endpoint.port, client_id="blumfeld-health", connect_timeout_ms=timeout_s * 1000)
        try:
            await link.connect()
        finally:
            link.close()

    try:
        asyncio.run(ask())
    except (LinkError, ProtocolError) as error:
        raise click.ClickException(f"node {config.node_id} does not serve: {error}") from error
    click.echo(f"node {config.node_id} serves at {host}:{endpoint.port}")
