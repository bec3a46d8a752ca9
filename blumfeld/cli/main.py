"""The command `blumfeld`: one file per subcommand, imported when it is called.

Owns the list of subcommands and how errors are shown. Every other failure than a defect of ours is one line on stderr
that says what to do, and exit code 1 (2 for wrong usage).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import cast

import click

import blumfeld

COMMANDS = {
    "up": ("blumfeld.cli.up", "Start a broker, or a cluster of them."),
    "format": ("blumfeld.cli.format", "Format log directories before the first start, for who wants to say more."),
    "health": ("blumfeld.cli.health", "Say whether the node that this environment describes serves."),
    "topics": ("blumfeld.cli.topics", "List, create and delete topics."),
    "describe": ("blumfeld.cli.describe", "Show one topic: partitions, leaders, replicas, configs."),
    "produce": ("blumfeld.cli.produce", "Produce lines of standard input, or the values given."),
    "consume": ("blumfeld.cli.consume", "Print records of a topic."),
    "groups": ("blumfeld.cli.groups", "List groups, or show one with its lag."),
    "config": ("blumfeld.cli.config", "List the broker properties, or show what a start would use."),
    "dump-log": ("blumfeld.cli.dump_log", "Print what is in log files, and verify them."),
    "completion": ("blumfeld.cli.completion", "Print the script for shell completion (bash, zsh, fish)."),
}


class Commands(click.Group):
    """Subcommands by name, each imported when it is called or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        return cast("click.Command", importlib.import_module(found[0]).command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            close = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else "blumfeld --help lists the commands."
            ctx.fail(f"There is no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(blumfeld.__version__, prog_name="blumfeld")
def cli() -> None:
    """A broker and a cluster that work with Apache Kafka clients."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    cli.main(args=None if arguments is None else list(arguments), prog_name="blumfeld")
