"""`blumfeld dump-log`: what is in log files, and whether they are sound."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from blumfeld.cli.log_files import Item, Unreadable, read
from blumfeld.cli.progress import BYTES, Bar
from blumfeld.env import paths
from blumfeld.env.disk import RealDisk

_SHOWN_BYTES = 200


@click.command("dump-log")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True))
@click.option("--records", is_flag=True, help="Open the batches and show their records.")
@click.option(
    "--values",
    type=click.Choice(["text", "json", "hex"]),
    default="text",
    show_default=True,
    help="How keys and values are shown.",
)
@click.option(
    "--verify", "verifying", is_flag=True, help="Check everything, print only what is wrong; exit code 1 then."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(files: tuple[str, ...], records: bool, values: str, verifying: bool, as_json: bool) -> None:
    """Print batches, records, indexes, snapshots and checkpoints of log FILEs, or of all files of a directory."""
    if verifying:
        _verify(list(files), as_json)
        return
    try:
        for path in _expanded(files):
            _dump(path, records, values, as_json)
    except Unreadable as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _expanded(files: tuple[str, ...]) -> Iterator[str]:
    disk = RealDisk()
    for path in files:
        if disk.is_directory(path):
            for name in disk.list(path):
                below = paths.join(path, name)
                if not disk.is_directory(below) and disk.size(below):
                    yield below
        else:
            yield path


def _dump(path: str, records: bool, values: str, as_json: bool) -> None:
    try:
        items = read(path, records=records)
        first = next(items, None)
    except Unreadable as error:
        if "is none of the files" in str(error):
            return
        raise
    if not as_json:
        click.echo(f"== {path}")
    if first is None:
        return
    for item in (first, *items):
        if as_json:
            click.echo(json.dumps({"file": path, **_plain(item, values)}, ensure_ascii=False))
        else:
            click.echo(_line(item, values))


def _verify(files: list[str], as_json: bool) -> None:
    from blumfeld.cli.log_verification import data_bytes, verify

    problems = 0
    with Bar("verifying", data_bytes(files), BYTES) as bar:
        for problem in verify(files, bar.advance):
            problems += 1
            shown = json.dumps(problem._asdict(), ensure_ascii=False)
            click.echo(shown if as_json else f"{problem.path}: {problem.what}")
    if problems:
        if not as_json:
            click.echo(f"{problems} problem{'s' if problems > 1 else ''}", err=True)
        sys.exit(1)
    if not as_json:
        click.echo("no problems")


# One item as a line of text.
def _line(item: Item, values: str) -> str:
    match item["kind"]:
        case "batch":
            return _batch_line(item)
        case "record":
            return _record_line(item, values)
        case "damage":
            return f"DAMAGED at byte {item['position']}: {item['reason']}"
        case "offset":
            return f"{item['topic']}-{item['partition']}  {item['offset']}"
        case "text":
            return str(item["text"])
        case kind:
            fields = "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in item.items() if name != "kind")
            return f"{kind}  {fields}"


def _batch_line(item: Item) -> str:
    words = [
        f"offsets {item['base_offset']}…{item['last_offset']}",
        f"{item['records']} records",
        f"{item['size']} bytes at {item['position']}",
        f"{item['timestamp_type']} {_time(item['max_timestamp'])}",
        f"epoch {item['leader_epoch']}",
        item["codec"],
    ]
    if item["producer_id"] >= 0:
        words.append(f"producer {item['producer_id']}/{item['producer_epoch']} from {item['base_sequence']}")
    words += [name for name in ("transactional", "control") if item[name]]
    if item["delete_horizon"] is not None:
        words.append(f"delete horizon {_time(item['delete_horizon'])}")
    if not item["valid"]:
        words.append("WRONG CRC")
    return "  ".join(words)


def _record_line(item: Item, values: str) -> str:
    words = [f"  {item['offset']}", _time(item["timestamp"])]
    if "means" in item:
        words.append(item["means"])
    else:
        words += [f"key {_shown(item['key'], values)}", f"value {_shown(item['value'], values)}"]
    words += [f"header {name}={_shown(value, values)}" for name, value in item["headers"]]
    return "  ".join(words)


def _time(milliseconds: int) -> str:
    if milliseconds < 0:
        return "-"
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):
        return str(milliseconds)


def _shown(data: bytes | None, values: str) -> str:
    if data is None:
        return "null"
    if values == "hex":
        return data.hex()
    if values == "json":
        try:
            return json.dumps(json.loads(data), ensure_ascii=False)
        except ValueError:
            return data.hex()
    text = data[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return repr(text) + (f"… {len(data)} bytes" if len(data) > _SHOWN_BYTES else "")


# One item as JSON.
def _plain(item: Item, values: str) -> dict[str, Any]:
    plain = dict(item)
    if item["kind"] == "record":
        plain["key"] = _json_value(item["key"], values)
        plain["value"] = _json_value(item["value"], values)
        plain["headers"] = [[name, _json_value(value, values)] for name, value in item["headers"]]
    return plain


def _json_value(data: bytes | None, values: str) -> Any:
    if data is None:
        return None
    if values == "hex":
        return data.hex()
    if values == "json":
        try:
            return json.loads(data)
        except ValueError:
            return data.hex()
    return data.decode("utf-8", "backslashreplace")
