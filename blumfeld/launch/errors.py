"""Why a node can't start, in words that say what to do."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

LISTEN_STATE = "0A"
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


class StartError(Exception):
    """The node can't start as it is told to. The message says why and what to do."""


def start_failures() -> tuple[type[Exception], ...]:
    """What a start may raise without a defect of ours: what it was told, or what it found, is not right."""
    from blumfeld.cluster.controller_channel import ControllerUnavailable
    from blumfeld.cluster.lifecycle import RegistrationRefused
    from blumfeld.config.values import ConfigError
    from blumfeld.storage.errors import StorageError

    wrong = (OSError, ConfigError, StartError, StorageError, RegistrationRefused, ControllerUnavailable)
    return wrong + _damages()


def _damages() -> tuple[type[Exception], ...]:
    """What a metadata log that does not read is refused with."""
    from blumfeld.cluster.raft.quorum_state import CorruptQuorumStateError
    from blumfeld.cluster.raft.recovery import InconsistentLogError
    from blumfeld.protocol.batch import CorruptBatch

    return (CorruptQuorumStateError, InconsistentLogError, CorruptBatch)


def explain(error: Exception, metadata_directory: str) -> str:
    """What to say when a start failed with one of `start_failures`."""
    if isinstance(error, OSError):
        return explain_os_error(error)
    if isinstance(error, _damages()):
        return (
            f"the metadata log in {metadata_directory} cannot be used: {error}. Nothing was changed: put that"
            " directory back from a backup; where other controllers have the log, move it away and it is copied"
        )
    return str(error)


def explain_os_error(error: OSError) -> str:
    """What went wrong with which file, and what to do about it."""
    if error.filename is None or error.errno is None:
        return str(error)
    what = f"{error.filename}: {error.strerror or error}"
    if error.errno in READ_ONLY:
        return f"{what}: a broker must be able to write there; change its rights or its mount, or choose another place"
    if error.errno in NO_ROOM:
        return f"{what}: make room, or choose another place; what was kept there before is untouched"
    if error.errno in IN_THE_WAY:
        return f"{what}: something else is where a directory or file of the broker belongs; move it away"
    return what


def busy_port(host: str, port: int, error: OSError) -> str:
    """What to say when an address can't be bound; for a busy port, who holds it."""
    if error.errno == errno.EADDRINUSE:
        holder = _holder_of(port)
        by = f" by {holder}" if holder else ""
        where = host or "all interfaces"
        return f"port {port} on {where} is in use{by}: stop that, or choose another --port (0: any free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: change `listeners`"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights: choose one above 1023 with --port"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _holder_of(port: int) -> str | None:
    """`name (pid 123)` of the process that listens on a port, where /proc tells."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table, encoding="ascii") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for pid in filter(str.isdigit, _entries("/proc")):
        for descriptor in _entries(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                        return f"{comm.read().strip()} (pid {pid})"
    return None


def _entries(directory: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(directory)
    return []
