"""What the client commands share: options, one event loop run, tables, and errors as a line that says what to do."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from blumfeld.client.cluster import ClusterClient
from blumfeld.client.errors import ClientError, NoBroker, RequestFailed
from blumfeld.cluster.link import LinkError
from blumfeld.env.environment import Env
from blumfeld.protocol.errors import ErrorCode

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
CLIENT_TIMEOUT_S = 10.0
UNKNOWN_TOPIC_S = 1.0
"""How long a topic that is not there may still turn up: made a moment ago, another broker may know it already."""
NOTHING = "-"


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE` as a pair: the type of an option."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not written as NAME=VALUE")
    return name, value


bootstrap_option = click.option(
    "-b",
    "--bootstrap",
    default=DEFAULT_BOOTSTRAP,
    envvar=["KAFKA_BOOTSTRAP_SERVERS", "BLUMFELD_BOOTSTRAP"],
    show_default=True,
    metavar="HOST:PORT[,…]",
    help="Brokers to ask first; also $KAFKA_BOOTSTRAP_SERVERS.",
)


def client_command(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a coroutine function that takes a client first a command body with `--bootstrap`."""

    @bootstrap_option
    @functools.wraps(function)
    def body(bootstrap: str, **arguments: Any) -> None:
        async def session() -> None:
            cluster = ClusterClient(
                Env.real(),
                bootstrap,
                client_id="blumfeld-cli",
                timeout_s=CLIENT_TIMEOUT_S,
                unknown_topic_s=UNKNOWN_TOPIC_S,
            )
            try:
                await function(cluster, **arguments)
            except (ClientError, LinkError) as error:
                raise click.ClickException(await _explained(cluster, bootstrap, error)) from error
            finally:
                await cluster.close()

        try:
            asyncio.run(session())
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(0)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(0)

    return body


async def _explained(cluster: ClusterClient, bootstrap: str, error: ClientError | LinkError) -> str:
    """What went wrong, and what to do about it."""
    if isinstance(error, LinkError | NoBroker):
        return f"{error}\nasked {bootstrap}: start a broker there (blumfeld up), or name another with --bootstrap"
    if isinstance(error, RequestFailed) and error.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
        return f"{error}\n{await _other_topics(cluster, error.subject)}"
    return str(error)


async def _other_topics(cluster: ClusterClient, missing: str) -> str:
    names = [topic.name or "" for topic in (await cluster.metadata()).topics if not topic.is_internal]
    close = get_close_matches(missing.removeprefix("topic "), names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "`blumfeld topics` lists those that there are; `blumfeld topics create` makes one"


def show(
    rows: Iterable[Sequence[Any]], titles: Sequence[str], *, as_json: bool, nothing: str = "there is nothing to show"
) -> None:
    """Rows as a table on a terminal, tab-separated with a header elsewhere, or as JSON objects.

    `nothing`: what a terminal shows where there are no rows.
    """
    found = [list(row) for row in rows]
    if as_json:
        keys = [title.lower().replace(" ", "_") for title in titles]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in found], indent=2))
    elif not sys.stdout.isatty():
        click.echo("\t".join(titles))
        for row in found:
            click.echo("\t".join(str(cell) for cell in row))
    elif found:
        _show_table(found, titles)
    else:
        click.echo(nothing)


def _show_table(rows: Sequence[Sequence[Any]], titles: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, title in enumerate(titles):
        numbers = all(isinstance(row[column], int) or row[column] == NOTHING for row in rows)
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # plain: brackets are no markup
    Console().print(table)
