"""Where the sockets of running apps are, and what may lie about there.

Whoever can write into the directory could pose as an app: it must belong to this user
and be closed to everybody else.

The command line looks there too, and loads no gevent: neither does this module.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag._unix_sockets import listens

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRIVATE: Final = 0o700
SOCKET_NAME: Final = re.compile(r"(?P<name>.+)\.(?P<pid>\d+)\.sock")
"""How the socket of an app is called."""
_WORKERS_NAME: Final = re.compile(r".+\.(?P<pid>\d+)\.workers")


def runtime_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which running apps put their sockets."""
    if given := environ.get("SPRAG_RUNTIME_DIR"):
        return Path(given)
    if given := environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "sprag"
    return Path(f"/tmp/sprag-{os.getuid()}")  # noqa: S108 - its owner and mode are checked


def socket_path(name: str) -> Path:
    """Return where the app called *name* listens, in this process."""
    return runtime_directory() / f"{_plain(name)}.{os.getpid()}.sock"


def workers_directory(name: str) -> Path:
    """Return where the workers of the app called *name* listen, whose parent we are.

    Nobody looks for apps there: the parent answers for them.
    """
    return runtime_directory() / f"{_plain(name)}.{os.getpid()}.workers"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "app"


def make_private(directory: Path) -> None:
    """Make the directory, or see to it that nobody else can use the one there is.

    Raises:
        OSError: It cannot be made, belongs to somebody else, or is open to others.
    """
    directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    found = directory.stat(follow_symlinks=False)
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must belong to this user and have mode 0700: "
            f"run 'chmod 700 {directory}', or set SPRAG_RUNTIME_DIR to another directory"
        )


def remove_stale(directory: Path) -> list[Path]:
    """Remove the sockets whose app is dead, and return them.

    Dead means both: the process is gone, and nobody listens. An app in another container
    that shares the directory has a pid which means nothing here, but it listens.
    """
    removed: list[Path] = []
    with suppress(OSError):
        for path in directory.iterdir():
            of_workers = _WORKERS_NAME.fullmatch(path.name)
            if of_workers is not None and not _lives(int(of_workers["pid"])):
                remove_workers_directory(path)
            match = SOCKET_NAME.fullmatch(path.name)
            if match is None or _lives(int(match["pid"])) or not is_deserted(path):
                continue
            with suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def remove_workers_directory(directory: Path) -> None:
    """Remove what the workers of a parent that has ended have left; who listens yet stays."""
    with suppress(OSError):
        for path in directory.iterdir():
            if is_deserted(path):
                path.unlink()
        directory.rmdir()


def is_taken(path: Path) -> bool:
    """Whether somebody listens at *path*: with this process's id, an app in another container."""
    return path.is_socket() and not is_deserted(path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def is_deserted(path: Path) -> bool:
    """Whether nobody listens at *path*, for certain: of a file that is no socket nobody knows."""
    return path.is_socket() and listens(path) is False
