"""Find the running apps: each listens on ``<name>.<pid>.sock`` in one directory of the user's.

Whoever can write into that directory could pose as an app, so it is only trusted if it belongs
to this user and is closed to everybody else.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from sprag._exit_codes import ExitCode
from sprag._unix_sockets import listens
from sprag.control.place import app_of, is_socket, remove_stale, runtime_directory
from sprag_cli.app.client import Client, RunningApp
from sprag_cli.app.elsewhere import chosen
from sprag_cli.app.told import number_of
from sprag_cli.record import Record
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import complain
from sprag_cli.term.words import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

_QUICK_LOOK: Final = 0.5
"""Seconds in which an app that is listed may say how long it has been up."""
_START_ONE: Final = "start one with 'sprag run module:app'"


class Found(Record):
    """What there is: apps that listen.

    Attributes:
        directory: Where this user's are looked for.
        apps: Those.
        others: Those of other users, wherever they are; root alone sees them.
        removed: How many apps had gone without removing their sockets; that is done now.
    """

    directory: str
    apps: tuple[RunningApp, ...] = ()
    others: tuple[RunningApp, ...] = ()
    removed: int = 0

    def note(self) -> str:
        """Return a sentence about the apps that have gone without a word, or ``""``."""
        if not self.removed:
            return ""
        if self.removed == 1:
            return "an app has gone without a word, killed perhaps: its socket is removed"
        return f"{self.removed} apps have gone without a word: their sockets are removed"


class UnsafeDirectory(CommandError):
    """Raised when other users could have put sockets into the directory."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, directory: str, fault: str, remedy: str) -> None:
        """Name the fault of *directory* and what to do about it."""
        super().__init__(
            f"{directory} {fault} — it must be a directory of your own with mode 0700 — {remedy}"
        )


class NoApp(CommandError):
    """Raised when no app runs, or not the one asked for."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, asked: str | None, found: Found) -> None:
        """Say what was looked for, what there is, and what to do.

        Args:
            asked: The value of ``--app``, or ``None``.
            found: What the directory holds.
        """
        if asked is None:
            said = f"no app is running (looked in {found.directory}) — {_START_ONE}"
        elif not (everywhere := found.apps + found.others):
            said = f"no app {asked!r} is running, nor any other — {_START_ONE}"
        else:
            from difflib import get_close_matches

            names = [app.name for app in everywhere]
            alike = get_close_matches(asked, names, n=1)
            remedy = f"did you mean --app {alike[0]}?" if alike else "give one of these with --app"
            said = f"no app {asked!r} — running: {', '.join(map(str, everywhere))} — {remedy}"
        note = found.note()
        super().__init__(said, *([note] if note else []))


class SeveralApps(CommandError):
    """Raised when more than one app would do.

    Attributes:
        apps: Those apps.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self,
        apps: tuple[RunningApp, ...],
        asked: str | None,
        uptimes: Mapping[str, str] | None = None,
    ) -> None:
        """List the apps, each with its pid and, where *uptimes* knows it, its age."""
        self.apps = apps
        widest = max(len(app.name) for app in apps)
        rows = [
            f"  {app.name:<{widest}}  pid {app.pid}  {(uptimes or {}).get(app.socket, '')}".rstrip()
            + (f"  of {app.user}" if app.user else "")
            for app in apps
        ]
        which = "apps are running" if asked is None else f"running apps are called {asked!r}"
        by = "NAME or --app PID" if asked is None else "PID"
        said = f"{len(apps)} {which} — choose one with --app {by}"
        super().__init__(said, *rows)


def find_app(asked: str | None, *, quiet: bool = False, tells_ages: bool = True) -> RunningApp:
    """Return the app to talk to, and say on stderr if others have gone without a word.

    Args:
        asked: Name, pid or socket. ``None`` means the only one that runs.
        quiet: Do not say so.
        tells_ages: Ask each of several how long it is up, for the error.

    Raises:
        CommandError: There is none, or more than one.
    """
    if asked is not None and "/" in asked:
        return choose(Found(""), asked)
    found = all_apps()
    try:
        app = choose(found, asked)
    except SeveralApps as several:
        if not tells_ages:
            raise
        raise SeveralApps(several.apps, asked, _uptimes(several.apps)) from None
    if not quiet and (note := found.note()):
        complain(f"sprag: {note}")
    return app


def all_apps() -> Found:
    """Return the apps that a command may talk to, as the environment, or ``-H``, says.

    Where a directory is given, those in it; root sees everybody's else.
    """
    if (remote := chosen()) is not None:
        apps = tuple(RunningApp(*each, remote) for each in remote.apps())
        return Found(str(remote), apps)
    return find_apps(runtime_directory(), everywhere="SPRAG_RUNTIME_DIR" not in os.environ)


def _uptimes(apps: tuple[RunningApp, ...]) -> dict[str, str]:
    uptimes: dict[str, str] = {}
    for app in apps:
        try:
            uptime = number_of(Client(app, timeout=_QUICK_LOOK).tree(), "uptime")
        except CommandError:
            continue
        if uptime is not None:
            uptimes[app.socket] = f"up {duration(uptime)}"
    return uptimes


def find_apps(directory: str, *, uid: int | None = None, everywhere: bool = False) -> Found:
    """Look for apps that listen, without asking them anything; remove the sockets of the dead.

    Args:
        directory: Where to look. It need not exist.
        uid: Who must own it; root may look into anybody's. ``None`` means the user of this
            process.
        everywhere: Whether root is to see the apps of others, too.

    Raises:
        UnsafeDirectory: Somebody else owns it or could write into it.
    """
    uid = os.getuid() if uid is None else uid
    others = tuple(_elsewhere(directory)) if everywhere and uid == 0 else ()
    if not _trusted(directory, uid):
        return Found(directory, others=others)
    removed = len(remove_stale(directory))
    apps = tuple(
        RunningApp(*app, path)
        for file in sorted(os.listdir(directory))
        # Where nobody listens, it is on its way up, or down.
        if (app := app_of(file))
        and is_socket(path := os.path.join(directory, file))
        and listens(path)
    )
    return Found(directory, apps, others, removed)


def _elsewhere(own: str) -> Iterator[RunningApp]:
    """Yield the apps that listen outside of *own*; the kernel has a list of all sockets.

    A name is easily made up. What is believed is a socket in a private directory of the user
    whose process has the pid in its name.
    """
    try:
        with open("/proc/net/unix", errors="surrogateescape") as sockets:
            lines = sockets.read().splitlines()
    except OSError:
        return
    for line in sorted(lines, key=lambda line: line.partition("/")[2]):
        fields = line.split(None, 7)
        if len(fields) < 8 or fields[3] != _LISTENING:
            continue
        app = app_of(os.path.basename(fields[7]))
        if app is None:
            continue
        with suppress(OSError, ValueError, OverflowError):
            process = f"/proc/{app[1]}"
            path = os.path.join(os.readlink(f"{process}/cwd"), fields[7])
            folder = os.path.dirname(path)
            user = os.stat(process).st_uid
            found = os.lstat(folder)
            is_theirs = found.st_uid == user == os.lstat(path).st_uid
            is_elsewhere = os.path.abspath(folder) != os.path.abspath(own)
            if is_elsewhere and is_theirs and not found.st_mode & 0o077 and listens(path):
                yield RunningApp(*app, path, _name_of(user))


_LISTENING: Final = "00010000"
"""The flag of a listening socket in the kernel's list."""


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def choose(found: Found, asked: str | None) -> RunningApp:
    """Return the app asked for.

    Args:
        found: The apps there are.
        asked: A name, a pid or the path of a socket. ``None`` means the only one there is. This
            user's come first, then those of others.

    Raises:
        NoApp: There is none, or none like that.
        SeveralApps: There are several, or several like that.
    """
    if asked is None:
        candidates = found.apps or found.others
    elif "/" in asked:
        return _at(asked.rstrip("/") or "/")
    else:
        candidates = ()
        for apps in (found.apps, found.others):
            candidates = candidates or tuple(app for app in apps if app.name == asked)
            candidates = candidates or tuple(app for app in apps if str(app.pid) == asked)
    match candidates:
        case [app]:
            return app
        case []:
            raise NoApp(asked, found)
        case _:
            raise SeveralApps(candidates, asked)


def _at(path: str) -> RunningApp:
    file = os.path.basename(path)
    name, pid = app_of(file) or (file, None)
    return RunningApp(name, pid, path, remote=chosen())


def _trusted(directory: str, uid: int) -> bool:
    try:
        status = os.lstat(directory)
    except FileNotFoundError:
        return False
    elsewhere = "set SPRAG_RUNTIME_DIR to one that is"
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeDirectory(directory, "is not a directory", elsewhere)
    if uid not in (status.st_uid, 0):
        raise UnsafeDirectory(directory, f"belongs to user {status.st_uid}", elsewhere)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        fault = f"is open to others (mode {mode:04o})"
        raise UnsafeDirectory(directory, fault, f"chmod 700 {directory}")
    return True
