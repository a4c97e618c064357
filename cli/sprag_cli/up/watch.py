"""``sprag up --watch``: look whether the file is saved, and let the tree become what it says.

Editors write a file in pieces, or put another in its place. So it is acted on when two looks, half
a second apart, have found the same, and nothing has changed while it was read. What is wrong is
told, once, and nothing changes. Env files are compared by what is in them: who only touches one
restarts nobody.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import gevent

from sprag.exceptions import SpragError
from sprag.process.said import log
from sprag.programs.env_file import read_env_file
from sprag.programs.exceptions import BadEnvFile
from sprag_cli.run.load import UserCodeFailed
from sprag_cli.term.errors import CommandError
from sprag_cli.up.build import make_app
from sprag_cli.up.carry_out import Site
from sprag_cli.up.faults import BadFile, shown_path
from sprag_cli.up.plan import ENV_FILE, plan, without
from sprag_cli.up.procfile import ENV_FILE as BESIDE
from sprag_cli.up.procfile import is_procfile
from sprag_supervisor import RUNNING, class_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sprag
    from sprag_cli.up.build import Exits
    from sprag_cli.up.declared import Declared

EVERY: Final = 0.5
"""Seconds between two looks."""

Look = dict["Path", "tuple[int, ...] | None"]
"""What each file is like from outside; None: it is not there."""


class Watch:
    """Looks at one file, and at the env files that it names. To be made before it is read.

    Args:
        file: The file.
        read: Reads it, and returns what it declares, or raises `CommandError`.
        exits: As for `make_app`.
    """

    def __init__(self, file: Path, read: Callable[[Path], Declared], exits: Exits) -> None:
        self._file = file.absolute()
        self._read = read
        self._exits: Exits = exits
        self._always = [self._file]
        if is_procfile(file):
            self._always.append(self._file.with_name(BESIDE))
        self._watched = self._always
        self._seen = self._look()
        self.declared = read(file)
        """What there is."""
        self._watch_all_of(self.declared)
        self._digests = _digests_of(self.declared)
        self._site: Site | None = None

    def begin(self, app: sprag.Service) -> None:
        """Look from now on, in a greenlet of its own; *app*, made of the file, is up."""
        gevent.spawn(self._run, cast("sprag.App", app))

    def _run(self, app: sprag.App) -> None:
        """Look, and act, as long as *app* runs. Blocks."""
        self._site = Site(app, self.declared.root)
        last = self._seen
        while app._state_ is RUNNING:
            gevent.sleep(EVERY)
            now = self._look()
            if now == last and now != self._seen:
                try:
                    self._act(app, now)
                except Exception as error:  # noqa: BLE001 - the next save may do better
                    self._refuse(now, error)
            last = now

    def _look(self) -> Look:
        found: Look = {}
        for file in self._watched:
            try:
                stat = file.stat()
            except OSError:
                found[file] = None
            else:
                found[file] = stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev
        return found

    def _watch_all_of(self, declared: Declared) -> None:
        """Look at the env files of *declared*, too; what is new among them counts as seen."""
        files = [declared.folder / each for each in env_files(declared)]
        self._watched = list(dict.fromkeys((*self._always, *files)))
        self._seen = {file: self._seen.get(file, look) for file, look in self._look().items()}

    def _act(self, app: sprag.App, now: Look) -> None:
        try:
            declared = self._read(self._file)
            digests = _digests_of(declared)
            stale = {
                name
                for name, digest in digests.items()
                if name in self._digests and digest != self._digests[name]
            }
            for name in stale:
                _check_env(declared.folder / name)
            steps = plan(self.declared.root, declared.root, stale)
            fresh = make_app(declared, self._exits) if steps.changes else None
            if self._look() != now:
                return  # somebody writes at this moment: the next looks tell
        except (CommandError, SpragError) as error:
            if self._look() == now:
                self._refuse(now, error)
            return
        except SystemExit as error:  # of the user's code
            self._refuse(now, UserCodeFailed("making what the file declares", error))
            return
        self._seen = now
        self._watch_all_of(declared)
        # Of what is looked at from now on only: what is read after the look may be newer.
        news = {name: it for name, it in _digests_of(declared).items() if name not in self._digests}
        self._digests = {**digests, **news}
        if not steps:
            log(logging.INFO, "saved, and nothing changes", file=shown_path(self._file))
            return
        log(logging.INFO, "the file has changed", file=shown_path(self._file), **steps.told())
        self.declared = declared
        if fresh is not None and app._state_ is RUNNING:
            assert self._site is not None
            failed = self._site.carry_out(steps, fresh, declared.root)
            self.declared = replace(declared, root=without(declared.root, failed))

    def _refuse(self, now: Look, error: BaseException) -> None:
        """Tell what is wrong, once: until the next save nothing else is to be said."""
        self._seen = now
        said = "; ".join(str(error).splitlines()) or class_name(type(error))
        trace = error.trace if isinstance(error, UserCodeFailed) else None
        log(logging.ERROR, "the file is wrong, and nothing changes", error=said, trace=trace)


def env_files(declared: Declared) -> list[str]:
    """Return the env files that programs of *declared* read, as the file calls them."""
    names = (entry.settings.get(ENV_FILE) for entry in declared.root.walk())
    return list(dict.fromkeys(name for name in names if name is not None))


def _digests_of(declared: Declared) -> dict[str, bytes]:
    """Return what stands for the contents of each env file by its name; b"": it is not there."""
    return {name: _digest(declared.folder / name) for name in env_files(declared)}


def _digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return b""


def _check_env(file: Path) -> None:
    """Refuse an env file with which nothing could be started.

    Raises:
        BadFile: It cannot be read, or a line of it is wrong.
    """
    try:
        read_env_file(file)
    except OSError as error:
        raise BadFile(f"{shown_path(file)}: {error.strerror or error}") from None
    except BadEnvFile as error:
        raise BadFile(f"{shown_path(file)}:{error.line}: {error.why}") from None
