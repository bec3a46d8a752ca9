"""`blumfeld config`: the broker properties, and what a start with the same sources would use."""

from __future__ import annotations

import os

import click

from blumfeld.cli.session import show


@click.command("config")
@click.argument("names", nargs=-1)
@click.option("--list", "list_all", is_flag=True, help="Every property with its default and meaning.")
@click.option("--profile", type=click.Choice(("test", "dev", "durable", "none")), default="dev", show_default=True)
@click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False), help="A server.properties file.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A broker property; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def command(
    names: tuple[str, ...],
    list_all: bool,
    profile: str,
    config_file: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what these sources and the environment set, or the properties NAMES; --list: all there are."""
    from blumfeld.config.options import BROKER_OPTIONS
    from blumfeld.config.sources import load
    from blumfeld.config.values import ConfigError, format_value

    unknown = [name for name in names if name not in BROKER_OPTIONS]
    if unknown:
        raise click.ClickException(f"no such property: {', '.join(unknown)} (blumfeld config --list shows all)")
    if list_all:
        show(
            [
                (option.name, option.type.name.lower(), format_value(option, option.default) or "", option.text)
                for name, option in sorted(BROKER_OPTIONS.items())
                if not names or name in names
            ],
            ("name", "type", "default", "meaning"),
            as_json=as_json,
        )
        return
    file = None
    if config_file is not None:
        with open(config_file, encoding="utf-8") as source:
            file = (config_file, source.read())
    try:
        config = load(profile=profile, file=file, environment=os.environ, settings=settings)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    chosen = names or tuple(sorted(name for name in config if config.is_given(name)))
    show(
        [(name, config.text(name) or "", config.origin(name)) for name in chosen],
        ("name", "value", "source"),
        as_json=as_json,
    )
