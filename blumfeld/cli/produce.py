"""`blumfeld produce`: values given, or lines of standard input, as records."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click

from blumfeld.cli.session import client_command
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.producing import Message, Producer
from blumfeld.env.clock import SystemClock
from blumfeld.protocol.compression import Codec

LINES_PER_BATCH = 500


@click.command("produce")
@click.argument("topic")
@click.argument("values", nargs=-1)
@click.option("-k", "--key", help="Key of every record.")
@click.option("--key-separator", metavar="TEXT", help="Each line is key, this text, value.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header; repeatable.")
@click.option("-p", "--partition", type=int, help="Partition; by key (or in turn) if left out.")
@click.option("--codec", type=click.Choice([c.name.lower() for c in Codec]), default="none", show_default=True)
@click.option("--acks", type=click.Choice(["all", "1", "0"]), default="all", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing about what was produced.")
@client_command
async def command(
    cluster: ClusterClient,
    topic: str,
    values: tuple[str, ...],
    key: str | None,
    key_separator: str | None,
    headers: tuple[str, ...],
    partition: int | None,
    codec: str,
    acks: str,
    quiet: bool,
) -> None:
    """Produce VALUES, or each line of standard input, to TOPIC (made if missing and the cluster allows)."""
    pairs = tuple((name, value.encode()) for name, _, value in (h.partition("=") for h in headers))
    producer = Producer(cluster)
    count = 0
    source: Iterable[str] = values or (line.rstrip("\n") for line in sys.stdin)
    for chunk in _chunks(source):
        messages = []
        for text in chunk:
            record_key, value = key, text
            if key_separator and key_separator in text:
                record_key, _, value = text.partition(key_separator)
            messages.append(
                Message(
                    value.encode(),
                    None if record_key is None else record_key.encode(),
                    pairs,
                    None,
                    partition,
                )
            )
        await producer.send(
            topic,
            messages,
            now_ms=SystemClock().time_ms(),
            acks=-1 if acks == "all" else int(acks),
            codec=Codec[codec.upper()],
        )
        count += len(messages)
    if not quiet:
        click.echo(f"produced {count} record{'' if count == 1 else 's'} to {topic}", err=True)


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == LINES_PER_BATCH or sys.stdin.isatty():
            yield chunk
            chunk = []
    if chunk:
        yield chunk
