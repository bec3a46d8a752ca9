"""Options that say where broker properties come from: `--profile`, `--config`, `--set`.

Light to import: every start of a broker does.
"""

from __future__ import annotations

import click

from blumfeld.config.profiles import PROFILES


def properties(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Broker properties that begin so, for a shell."""
    from blumfeld.config.options import BROKER_OPTIONS

    return sorted(name for name in BROKER_OPTIONS if name.startswith(incomplete))


profile_type = click.Choice(PROFILES)
config_file = click.option(
    "--config", "config_file", type=click.Path(exists=True, dir_okay=False), help="A server.properties file."
)
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=properties,
    help="A broker property; repeatable.",
)
