"""Where the sockets of running apps are, and what may lie about there.

Whoever can write into the directory could pose as an app: it must belong to this user
and be closed to everybody else.

The command line looks there too, and loads neither gevent nor pathlib, a tenth of its start: nor
does this module.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from sprag._unix_sockets import listens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    Place = str | os.PathLike[str]

_PRIVATE: Final = 0o700
_OF_APPS: Final = "sock"
_OF_WORKERS: Final = "workers"


def runtime_directory(environ: Mapping[str, str] = os.environ) -> str:
    """Return the directory in which running apps put their sockets."""
    if given := environ.get("SPRAG_RUNTIME_DIR"):
        return given
    if given := environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(given, "sprag")
    return f"/tmp/sprag-{os.getuid()}"  # noqa: S108 - its owner and mode are checked


def socket_path(name: str) -> str:
    """Return where the app called *name* listens, in this process."""
    return _own(name, _OF_APPS)


def workers_directory(name: str) -> str:
    """Return where the workers of the app called *name* listen, whose parent we are.

    Nobody looks for apps there: the parent answers for them.
    """
    return _own(name, _OF_WORKERS)


def _own(name: str, kind: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "app"
    return os.path.join(runtime_directory(), f"{plain}.{os.getpid()}.{kind}")


def app_of(file: str, kind: str = _OF_APPS) -> tuple[str, int] | None:
    """Return the name and the pid of the app whose socket is called *file*; None: it is none."""
    stem, _, suffix = file.rpartition(".")
    name, _, pid = stem.rpartition(".")
    return (name, int(pid)) if suffix == kind and name and pid.isdecimal() else None


def make_private(directory: Place) -> None:
    """Make the directory, or see to it that nobody else can use the one there is.

    Raises:
        OSError: It cannot be made, belongs to somebody else, or is open to others.
    """
    os.makedirs(directory, mode=_PRIVATE, exist_ok=True)
    found = os.lstat(directory)
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must belong to this user and have mode 0700: "
            f"run 'chmod 700 {directory}', or set SPRAG_RUNTIME_DIR to another directory"
        )


def remove_stale(directory: Place) -> list[str]:
    """Remove the sockets whose app is dead, and return them.

    Dead means both: the process is gone, and nobody listens. An app in another container
    that shares the directory has a pid which means nothing here, but it listens.
    """
    removed: list[str] = []
    with suppress(OSError):
        for file in os.listdir(directory):
            path = os.path.join(directory, file)
            of_workers = app_of(file, _OF_WORKERS)
            if of_workers is not None and not _lives(of_workers[1]):
                remove_workers_directory(path)
            app = app_of(file)
            if app is None or _lives(app[1]) or not is_deserted(path):
                continue
            with suppress(OSError):
                os.unlink(path)
                removed.append(path)
    return removed


def remove_workers_directory(directory: Place) -> None:
    """Remove what the workers of a parent that has ended have left; who listens yet stays."""
    with suppress(OSError):
        for file in os.listdir(directory):
            path = os.path.join(directory, file)
            if is_deserted(path):
                os.unlink(path)
        os.rmdir(directory)


def is_taken(path: Place) -> bool:
    """Whether somebody listens at *path*: with this process's id, an app in another container."""
    return is_socket(path) and not is_deserted(path)


def is_socket(path: Place) -> bool:
    """Whether *path* leads to a socket."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_deserted(path: Place) -> bool:
    """Whether nobody listens at *path*, for certain: of a file that is no socket nobody knows."""
    return is_socket(path) and listens(path) is False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True
