"""What the client commands share: the --bootstrap option, one event loop run, and errors as one line."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import ClientError
from blumfeld.env.environment import Env

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
CLIENT_TIMEOUT_S = 10.0


bootstrap_option = click.option(
    "-b",
    "--bootstrap",
    default=DEFAULT_BOOTSTRAP,
    envvar=["KAFKA_BOOTSTRAP_SERVERS", "BLUMFELD_BOOTSTRAP"],
    show_default=True,
    metavar="HOST:PORT[,…]",
    help="Brokers to ask first.",
)


def client_command(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a coroutine function that takes a client first a command body with `--bootstrap`."""

    @bootstrap_option
    @functools.wraps(function)
    def body(bootstrap: str, **arguments: Any) -> None:
        async def session() -> None:
            env = Env.real()
            cluster = ClusterClient(env, bootstrap, client_id="blumfeld-cli", timeout_s=CLIENT_TIMEOUT_S)
            try:
                await function(cluster, **arguments)
            finally:
                await cluster.close()

        try:
            asyncio.run(session())
        except ClientError as error:
            raise click.ClickException(f"{error}\n(asked {bootstrap}; another cluster: --bootstrap)") from error
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(0)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(0)

    return body


def show(rows: Iterable[Sequence[Any]], titles: Sequence[str], *, as_json: bool) -> None:
    """Rows as a table on a terminal, tab-separated with a header elsewhere, or as JSON objects."""
    found = [list(row) for row in rows]
    if as_json:
        keys = [title.lower().replace(" ", "_") for title in titles]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in found], indent=2))
    elif sys.stdout.isatty():
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table

        table = Table(*titles, box=SIMPLE)
        for row in found:
            table.add_row(*(str(cell) for cell in row))
        Console().print(table)
    else:
        click.echo("\t".join(titles))
        for row in found:
            click.echo("\t".join(str(cell) for cell in row))
