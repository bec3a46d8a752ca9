"""Opening all logs of one directory at the start.

Owns what the names in a log directory mean, and the threads in which an unclean directory is recovered. A cleanly
closed log opens in a fraction of a millisecond, so those are opened one after the other.

Invariant: a directory whose name is no partition's is left alone, but for `-delete` ones, which go.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from blumfeld.storage import checkpoint
from blumfeld.storage.errors import CorruptLog
from blumfeld.storage.log import Log, parse_name
from blumfeld.storage.recovery import REPORT_SECONDS

if TYPE_CHECKING:
    from blumfeld.storage.data_directory import DataDirectory
    from blumfeld.storage.log_config import LogConfig

_logger = logging.getLogger(__name__)

METADATA_TOPIC = "__cluster_metadata"
_DELETED = "-delete"
_SET_ASIDE = ("-future", "-stray")
_LONGEST_NAME = 255


def deleted_name(topic: str, partition: int, unique: str) -> str:
    """What a partition's directory is renamed to before it goes: `topic-N.<unique>-delete`, at most 255 characters."""
    suffix = f"-{partition}.{unique}{_DELETED}"
    return topic[: _LONGEST_NAME - len(suffix)] + suffix


def load_directory(directory: DataDirectory, config: LogConfig, threads: int) -> list[Log]:
    """Open every log in `directory`; a disk error takes it offline, damaged logs are noted in `damaged`."""
    try:
        names = _partitions(directory)
        if directory.clean_epoch is not None:
            return _load_here(directory, names, config)
        return _load_in_threads(directory, names, config, threads)
    except OSError as error:
        directory.fail(error, "opening its logs")
        return []


def _partitions(directory: DataDirectory) -> list[str]:
    names = []
    now_ms = directory.clock.time_ms()
    for name in directory.disk.list(directory.path):
        path = f"{directory.path}/{name}"
        if not directory.disk.is_directory(path):
            continue
        if name.endswith(_DELETED):
            directory.throw_away(path, now_ms)
        elif name.endswith(_SET_ASIDE):
            _logger.warning("%s is left alone: no partition is served from it", path)
        else:
            try:
                topic, _ = parse_name(name)
            except ValueError:
                _logger.warning("%s is left alone: it is no partition's directory", path)
                continue
            if topic != METADATA_TOPIC:
                names.append(name)
    return names


def _open(directory: DataDirectory, name: str, config: LogConfig) -> Log:
    key = parse_name(name)
    written = directory.written
    return Log.open(
        f"{directory.path}/{name}",
        config,
        directory.disk,
        directory.clock,
        clean=directory.clean_epoch is not None,
        recovery_point=written[checkpoint.RECOVERY_POINTS].get(key, 0),
        log_start_offset=written[checkpoint.LOG_START_OFFSETS].get(key, 0),
        high_watermark=written[checkpoint.HIGH_WATERMARKS].get(key, 0),
        home=directory,
    )


def _load_here(directory: DataDirectory, names: list[str], config: LogConfig) -> list[Log]:
    logs: list[Log] = []
    for name in names:
        try:
            logs.append(_open(directory, name, config))
        except CorruptLog as error:
            _logger.error("%s", error)
            directory.damaged[parse_name(name)] = error
    return logs


def _load_in_threads(directory: DataDirectory, names: list[str], config: LogConfig, threads: int) -> list[Log]:
    logs: list[Log] = []
    clock = directory.clock
    begun = reported = clock.monotonic()
    if names:
        _logger.info("%s was not closed cleanly: recovering %d logs", directory.path, len(names))
    threads = min(threads, directory.open_files.capacity)  # each has one file open, which no other may close
    with ThreadPoolExecutor(threads, "recovery") as pool:
        opening = {pool.submit(_open, directory, name, config): name for name in names}
        for count, done in enumerate(as_completed(opening), 1):
            try:
                logs.append(done.result())
            except CorruptLog as error:
                _logger.error("%s", error)
                directory.damaged[parse_name(opening[done])] = error
            now = clock.monotonic()
            if now - reported >= REPORT_SECONDS:
                reported = now
                _logger.info("%s: %d of %d logs recovered", directory.path, count, len(names))
    if names:
        _logger.info("%s: %d logs recovered in %.1f s", directory.path, len(logs), clock.monotonic() - begun)
    return logs
