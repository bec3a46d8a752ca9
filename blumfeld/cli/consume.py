"""`blumfeld consume`: records of a topic on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from blumfeld.cli.completion import topics
from blumfeld.cli.progress import Bar
from blumfeld.cli.session import NOTHING, client_command
from blumfeld.client.cluster import ClusterClient
from blumfeld.client.consuming import EARLIEST, LATEST, Consumed, Consumer

FIELDS = "{topic} {partition} {offset} {timestamp} {key} {value} {headers}"


def template_of(text: str) -> str:
    """A Python format over the fields of a record: the type of an option."""
    try:
        text.format(**_fields(Consumed("topic", 0, 0, 0, b"key", b"value", ())))
    except (LookupError, AttributeError, ValueError, TypeError) as error:
        raise click.BadParameter(f"{text!r} is no format: {error}; there are {FIELDS}") from error
    return text


@click.command("consume")
@click.argument("topic", shell_complete=topics)
@click.option("--from-start", is_flag=True, help="From the first record; otherwise only new ones.")
@click.option("--offset", type=click.IntRange(min=0), help="From this offset on (each partition).")
@click.option("--timestamp", type=click.IntRange(min=0), help="From the first record at or after this time (Unix ms).")
@click.option("-p", "--partition", type=int, help="Only this partition.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after so many records.")
@click.option("-f", "--follow/--no-follow", default=None, help="Wait for more; default: only without --from-start.")
@click.option("--headers", "with_headers", is_flag=True, help="Show headers.")
@click.option("--format", "template", type=template_of, metavar="TEXT", help=f"Python format: {FIELDS}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record.")
@click.option("--read-committed", is_flag=True, help="Leave records of open and aborted transactions out.")
@client_command
async def command(
    cluster: ClusterClient,
    topic: str,
    from_start: bool,
    offset: int | None,
    timestamp: int | None,
    partition: int | None,
    count: int | None,
    follow: bool | None,
    with_headers: bool,
    template: str | None,
    as_json: bool,
    read_committed: bool,
) -> None:
    """Print the records of TOPIC: those that are there (--from-start), or new ones as they come."""
    consumer = Consumer(cluster, read_committed=read_committed)
    partitions = None if partition is None else [partition]
    from_past = from_start or offset is not None or timestamp is not None
    ends = await consumer.offsets(topic, partitions, LATEST)
    positions = dict(ends)
    if timestamp is not None:
        found = await consumer.offsets(topic, partitions, timestamp)
        positions = {p: found[p] if found[p] >= 0 else ends[p] for p in ends}
    elif from_past:
        positions = await consumer.offsets(topic, partitions, EARLIEST)
        if offset is not None:
            positions = {p: max(offset, start) for p, start in positions.items()}
    stops = from_past and not follow
    total = _distance(positions, ends)
    left = count
    with Bar("consuming", total, "records", wanted=stops and not sys.stdout.isatty()) as bar:
        async for record in consumer.records(topic, positions, stop_at=ends if stops else None):
            click.echo(_render(record, with_headers, template, as_json))
            bar.advance()
            left = None if left is None else left - 1
            if left == 0:
                break


def _distance(positions: Mapping[int, int], ends: Mapping[int, int]) -> int:
    return sum(max(ends[partition] - position, 0) for partition, position in positions.items())


def _fields(record: Consumed) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": {name: _text(value) for name, value in record.headers},
    }


def _render(record: Consumed, with_headers: bool, template: str | None, as_json: bool) -> str:
    fields = _fields(record)
    if as_json:
        return json.dumps(fields, ensure_ascii=False)
    if template is not None:
        return template.format(**fields)
    value = fields["value"] if record.value is not None else "(null)"
    text = value if record.key is None else f"{fields['key']}\t{value}"
    if with_headers:
        text = f"{' '.join(f'{n}={v}' for n, v in fields['headers'].items()) or NOTHING}\t{text}"
    return text


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")
