"""Find the running apps: each listens on ``<name>.<pid>.sock`` in one directory of the user's.

Whoever can write into that directory could pose as an app, so it is only trusted if it belongs
to this user and is closed to everybody else.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag_cli._exit import ClientExit, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET_NAME: Final = re.compile(r"(?P<name>.+)\.(?P<pid>\d+)\.sock")
_START_ONE: Final = "start one with 'sprag run module:app'"


@dataclass(frozen=True, slots=True)
class RunningApp:
    """An app that listens, or a socket given by its path (then *pid* may be unknown)."""

    name: str
    pid: int | None
    socket: Path

    def __str__(self) -> str:
        """Return the name and the pid."""
        return self.name if self.pid is None else f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds: apps that listen, and sockets whose app is gone."""

    directory: Path
    apps: tuple[RunningApp, ...] = ()
    stale: tuple[Path, ...] = ()

    def stale_note(self) -> str:
        """Return a sentence about the stale sockets, or ``""``."""
        if not self.stale:
            return ""
        names = ", ".join(path.name for path in self.stale)
        return f"ignored in {self.directory}: {names} (nobody listens there; safe to delete)"


class UnsafeDirectory(CommandError):
    """Raised when other users could have put sockets into the directory."""

    exit_code = ClientExit.NOT_FOUND

    def __init__(self, directory: Path, fault: str, remedy: str) -> None:
        """Name the fault of *directory* and what to do about it."""
        self.directory = directory
        super().__init__(
            f"{directory} {fault} — it must be a directory of your own with mode 0700 — {remedy}"
        )


class NoApp(CommandError):
    """Raised when no app runs, or not the one asked for."""

    exit_code = ClientExit.NOT_FOUND

    def __init__(self, asked: str | None, found: Found) -> None:
        """Say what was looked for, what there is, and what to do.

        Args:
            asked: The value of ``--app``, or ``None``.
            found: What the directory holds.
        """
        self.asked = asked
        if asked is None:
            said = f"no app is running (looked in {found.directory}) — {_START_ONE}"
        elif not found.apps:
            said = f"no app {asked!r} is running, nor any other — {_START_ONE}"
        else:
            from difflib import get_close_matches

            names = [app.name for app in found.apps]
            alike = get_close_matches(asked, names, n=1)
            remedy = f"did you mean --app {alike[0]}?" if alike else "give one of these with --app"
            said = f"no app {asked!r} — running: {', '.join(map(str, found.apps))} — {remedy}"
        note = found.stale_note()
        super().__init__(said, *([note] if note else []))


class SeveralApps(CommandError):
    """Raised when more than one app would do.

    Attributes:
        apps: Those apps.
    """

    exit_code = ClientExit.USAGE

    def __init__(
        self,
        apps: tuple[RunningApp, ...],
        asked: str | None,
        uptimes: Mapping[Path, str] | None = None,
    ) -> None:
        """List the apps, each with its pid and, where *uptimes* knows it, its age."""
        self.apps = apps
        self.asked = asked
        widest = max(len(app.name) for app in apps)
        rows = [
            f"  {app.name:<{widest}}  pid {app.pid}  {(uptimes or {}).get(app.socket, '')}".rstrip()
            for app in apps
        ]
        which = "apps are running" if asked is None else f"running apps are called {asked!r}"
        by = "NAME or --app PID" if asked is None else "PID"
        said = f"{len(apps)} {which} — choose one with --app {by}"
        super().__init__(said, *rows)


def runtime_directory(environ: Mapping[str, str], uid: int) -> Path:
    """Return where the sockets of this user's apps are."""
    if given := environ.get("SPRAG_RUNTIME_DIR"):
        return Path(given)
    if given := environ.get("XDG_RUNTIME_DIR"):
        return Path(given, "sprag")
    return Path(f"/tmp/sprag-{uid}")  # noqa: S108 - its owner and mode are checked before use


def find_apps(directory: Path, *, uid: int | None = None) -> Found:
    """Look for apps that listen, without asking them anything.

    Args:
        directory: Where to look. It need not exist.
        uid: Who must own it. ``None`` means the user of this process.

    Raises:
        UnsafeDirectory: Somebody else owns it or could write into it.
    """
    if not _trusted(directory, os.getuid() if uid is None else uid):
        return Found(directory)
    apps: list[RunningApp] = []
    stale: list[Path] = []
    for path in sorted(directory.iterdir()):
        match = _SOCKET_NAME.fullmatch(path.name)
        if match is None or not path.is_socket():
            continue
        if listens(path):
            apps.append(RunningApp(match["name"], int(match["pid"]), path))
        else:
            stale.append(path)
    return Found(directory, tuple(apps), tuple(stale))


def choose(found: Found, asked: str | None) -> RunningApp:
    """Return the app asked for.

    Args:
        found: The apps there are.
        asked: A name, a pid or the path of a socket. ``None`` means the only one there is.

    Raises:
        NoApp: There is none, or none like that.
        SeveralApps: There are several, or several like that.
    """
    if asked is None:
        candidates = found.apps
    elif "/" in asked:
        return _at(Path(asked))
    else:
        candidates = tuple(app for app in found.apps if app.name == asked)
        candidates = candidates or tuple(app for app in found.apps if str(app.pid) == asked)
    match candidates:
        case [app]:
            return app
        case []:
            raise NoApp(asked, found)
        case _:
            raise SeveralApps(candidates, asked)


def listens(path: Path) -> bool:
    """Tell whether somebody listens on the socket at *path*, without waiting for them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:  # its queue is full: it is there, and busy
            return True
        except OSError:
            return False
        return True


def _at(path: Path) -> RunningApp:
    match = _SOCKET_NAME.fullmatch(path.name)
    if match is None:
        return RunningApp(path.name, None, path)
    return RunningApp(match["name"], int(match["pid"]), path)


def _trusted(directory: Path, uid: int) -> bool:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    elsewhere = "set SPRAG_RUNTIME_DIR to one that is"
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeDirectory(directory, "is not a directory", elsewhere)
    if status.st_uid != uid:
        raise UnsafeDirectory(directory, f"belongs to user {status.st_uid}", elsewhere)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        fault = f"is open to others (mode {mode:04o})"
        raise UnsafeDirectory(directory, fault, f"chmod 700 {directory}")
    return True
