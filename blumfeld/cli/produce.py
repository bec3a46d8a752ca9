"""`blumfeld produce`: values given, or lines of standard input, as records."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Sequence

import click

from blumfeld.cli.completion import topics
from blumfeld.cli.progress import BYTES, Bar
from blumfeld.cli.session import client_command, pair
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.producing import Message, Producer
from blumfeld.env.clock import SystemClock
from blumfeld.protocol.compression import Codec

RECORDS_PER_BATCH = 500
READ_BYTES = 64 << 10
"""With so many lines and bytes at once, a batch stays well below what a broker takes."""


@click.command("produce")
@click.argument("topic", shell_complete=topics)
@click.argument("values", nargs=-1)
@click.option("-k", "--key", help="Key of every record.")
@click.option("--key-separator", metavar="TEXT", help="Each line is key, this text, value.")
@click.option("-H", "--header", "headers", multiple=True, type=pair, metavar="NAME=VALUE", help="A header; repeatable.")
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
    headers: tuple[tuple[str, str], ...],
    partition: int | None,
    codec: str,
    acks: str,
    quiet: bool,
) -> None:
    """Produce VALUES, or each line of standard input, to TOPIC (made if missing and the cluster allows)."""
    pairs = tuple((name, os.fsencode(value)) for name, value in headers)
    separator = None if not key_separator else os.fsencode(key_separator)
    every_key = None if key is None else os.fsencode(key)
    producer = Producer(cluster)
    count = 0

    def message(line: bytes) -> Message:
        if separator is not None and separator in line:
            own_key, _, value = line.partition(separator)
            return Message(value, own_key, pairs, None, partition)
        return Message(line, every_key, pairs, None, partition)

    async def send(lines: Sequence[bytes]) -> int:
        await producer.send(
            topic,
            [message(line) for line in lines],
            now_ms=SystemClock().time_ms(),
            acks=-1 if acks == "all" else int(acks),
            codec=Codec[codec.upper()],
        )
        return len(lines)

    if not values and sys.stdin.isatty() and not quiet:
        click.echo("each line becomes a record; Ctrl-D ends", err=True)
    try:
        async for lines in _given(values) if values else _lines(sys.stdin.fileno(), quiet=quiet):
            for start in range(0, len(lines), RECORDS_PER_BATCH):
                count += await send(lines[start : start + RECORDS_PER_BATCH])
    finally:
        if not quiet and (count or sys.exc_info()[0] is None):
            click.echo(f"produced {count} record{'' if count == 1 else 's'} to {topic}", err=True)


async def _given(values: Sequence[str]) -> AsyncIterator[list[bytes]]:
    yield [os.fsencode(value) for value in values]


async def _lines(descriptor: int, *, quiet: bool) -> AsyncIterator[list[bytes]]:
    """Lines as they come, without their ends; those that are there are not kept waiting for more."""
    rest = b""
    status = os.fstat(descriptor)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    with Bar("producing", total, BYTES, wanted=not quiet and not os.isatty(descriptor)) as bar:
        while data := await _read(descriptor):
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                yield [line.removesuffix(b"\r") for line in lines]
            bar.advance(len(data))
        if rest:
            yield [rest]


async def _read(descriptor: int) -> bytes:
    """What there is to read, at least a byte; nothing at the end. Can be interrupted while it waits."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (PermissionError, NotImplementedError):  # a regular file, which never waits; Windows
        return os.read(descriptor, READ_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, READ_BYTES)
