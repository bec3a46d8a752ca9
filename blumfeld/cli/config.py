"""`blumfeld config`: the broker properties, and what a start with the same sources would use."""

from __future__ import annotations

import os
from difflib import get_close_matches

import click

from blumfeld.cli import sources
from blumfeld.cli.session import show
from blumfeld.cli.sources import properties


@click.command("config")
@click.argument("names", nargs=-1, shell_complete=properties)
@click.option("--list", "list_all", is_flag=True, help="Every property with its default and meaning.")
@click.option("--profile", type=sources.profile_type, default="dev", show_default=True)
@sources.config_file
@sources.settings
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
    from blumfeld.config.document import describe_option
    from blumfeld.config.options import BROKER_OPTIONS
    from blumfeld.config.sources import load
    from blumfeld.config.values import ConfigError, format_value

    unknown = [name for name in names if name not in BROKER_OPTIONS]
    if unknown:
        close = get_close_matches(unknown[0], BROKER_OPTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else "`blumfeld config --list` shows all"
        raise click.ClickException(f"there is no property {', '.join(unknown)}: {hint}")
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
    for warning in config.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if names and not as_json:
        for name in names:
            click.echo(describe_option(BROKER_OPTIONS[name]))
            click.echo(f"  here: {config.text(name) or 'none'} ({config.origin(name)})")
        return
    chosen = names or tuple(sorted(name for name in config if config.is_given(name)))
    show(
        [(name, config.text(name) or "", config.origin(name)) for name in chosen],
        ("name", "value", "source"),
        as_json=as_json,
    )
