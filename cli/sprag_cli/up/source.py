"""A file, and the tree that runs as it says: read again when it was saved, or by ``sprag reload``.

What is wrong with the file is raised before anything has changed. One reading at a time is carried
out; who comes meanwhile waits. Env files are compared by what is in them: who only touches one
restarts nobody.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gevent.lock import BoundedSemaphore

from sprag.process.said import log
from sprag.programs.env_file import read_env_file
from sprag.programs.exceptions import BadEnvFile
from sprag.services.reloading import Reread
from sprag_cli.run.load import UserCodeFailed
from sprag_cli.up.build import make_app
from sprag_cli.up.carry_out import Site
from sprag_cli.up.faults import BadFile, shown_path
from sprag_cli.up.plan import ENV_FILE, Plan, plan, without
from sprag_cli.up.procfile import ENV_FILE as BESIDE
from sprag_cli.up.procfile import is_procfile
from sprag_supervisor import RUNNING, class_name, path_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sprag
    from sprag_cli.up.build import Exits
    from sprag_cli.up.declared import Declared

Look = dict["Path", "tuple[int, ...] | None"]
"""What each file is like from outside; None: it is not there."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The file as it was read, and what follows from that."""

    declared: Declared
    digests: dict[str, bytes]
    steps: Plan
    fresh: sprag.App | None


class Source:
    """One file, and the env files that it names.

    Args:
        file: The file.
        read: Reads it, and returns what it declares, or raises `CommandError`.
        exits: As for `make_app`.

    Attributes:
        declared: What runs, as the file said it.
        seen: What the files were like when they were read for that.
    """

    def __init__(self, file: Path, read: Callable[[Path], Declared], exits: Exits) -> None:
        self._file = file.absolute()
        self._shown = shown_path(self._file)
        self._read = read
        self._exits: Exits = exits
        self._always = [self._file]
        if is_procfile(file):
            self._always.append(self._file.with_name(BESIDE))
        self._watched = self._always
        self.seen = self.look()
        self.declared = read(file)
        self._look_at_all_of(self.declared)
        self._digests = _digests_of(self.declared)
        self._app: sprag.App | None = None
        self._site: Site | None = None
        self._turn = BoundedSemaphore()

    def make(self) -> sprag.App:
        """Return the app of the file; nothing of it is started. To be called once.

        Raises:
            CommandError: As for `make_app`.
        """
        self._app = app = make_app(self.declared, self._exits, self)
        self._site = Site(app, self.declared.root)
        return app

    def look(self) -> Look:
        """Return what the files are like now, from outside."""
        found: Look = {}
        for file in self._watched:
            try:
                stat = file.stat()
            except OSError:
                found[file] = None
            else:
                found[file] = stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev
        return found

    # -- for `sprag reload` ------------------------------------------------------------------

    def planned(self) -> Reread:
        """Say what would change, were the file read now, or what is wrong with it."""
        try:
            return Reread(self._reading().steps.said() or "nothing changes")
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            return Reread(fault=_in_words(error))

    def reread(self) -> Reread:
        """Read the file, and let the tree become what it says. Blocks until that is done.

        If it is wrong nothing changes, which is logged.
        """
        with self._turn:
            now = self.look()
            try:
                reading = self._reading()
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                return Reread(fault=refused(error))
            failed = self._take(reading, now)
        assert self._app is not None
        root = path_of(self._app)
        anew = reading.steps.paths("added", "restarted")
        return Reread(
            reading.steps.said() or "nothing has changed",
            f"could not be started: {', '.join(sorted(failed))}" if failed else "",
            tuple([f"{root}/{path}/" for path in anew]),
        )

    # -- for `--watch` -----------------------------------------------------------------------

    def saved(self, now: Look) -> None:
        """Do the same at a save, unless somebody writes at this moment, or has had it read.

        Args:
            now: What the files are like.
        """
        with self._turn:
            if now == self.seen:
                return
            try:
                reading = self._reading()
                if self.look() != now:
                    return  # the next looks tell
                if not reading.steps:
                    log(logging.INFO, "saved, and nothing changes", file=self._shown)
                self._take(reading, now)
            except Exception as error:  # noqa: BLE001 - as above; and the next save may do better
                if self.look() == now:
                    self.seen = now
                    refused(error)

    # -- both --------------------------------------------------------------------------------

    def _reading(self) -> _Reading:
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
            fresh = make_app(declared, self._exits, self) if steps.changes else None
        except SystemExit as error:  # of the user's code
            raise UserCodeFailed("making what the file declares", error) from error
        return _Reading(declared, digests, steps, fresh)

    def _take(self, reading: _Reading, now: Look) -> set[str]:
        """Carry out what was read; return the paths of those that could not be started."""
        declared, steps = reading.declared, reading.steps
        self.seen = now
        self._look_at_all_of(declared)
        # Of what is looked at from now on only: what is read after the look may be newer.
        news = {name: it for name, it in _digests_of(declared).items() if name not in self._digests}
        self._digests = {**reading.digests, **news}
        if not steps:
            return set()
        log(logging.INFO, "the file has changed", file=self._shown, **steps.told())
        self.declared = declared
        app, site = self._app, self._site
        if reading.fresh is None or app is None or site is None or app._state_ is not RUNNING:
            return set()
        failed = site.carry_out(steps, reading.fresh, declared.root)
        self.declared = replace(declared, root=without(declared.root, failed))
        return failed

    def _look_at_all_of(self, declared: Declared) -> None:
        """Look at the env files of *declared*, too; what is new among them counts as seen."""
        files = [declared.folder / each for each in env_files(declared)]
        self._watched = list(dict.fromkeys((*self._always, *files)))
        self.seen = {file: self.seen.get(file, look) for file, look in self.look().items()}


def refused(error: BaseException) -> str:
    """Log that the file is wrong; return why."""
    said = _in_words(error)
    trace = error.trace if isinstance(error, UserCodeFailed) else None
    log(logging.ERROR, "the file is wrong, and nothing changes", error=said, trace=trace)
    return said


def _in_words(error: BaseException) -> str:
    return "; ".join(str(error).splitlines()) or class_name(type(error))


def env_files(declared: Declared) -> list[str]:
    """Return the env files that programs of *declared* read, as the file calls them."""
    names = (entry.settings.get(ENV_FILE) for entry in declared.root.walk())
    return list(dict.fromkeys(name for name in names if name is not None))


def _digests_of(declared: Declared) -> dict[str, bytes]:
    """Return what stands for the contents of each env file by its name; b"": it is not there."""
    return {name: _digest(declared.folder / name) for name in env_files(declared)}


def _digest(file: Path) -> bytes:
    try:
        # A pipe is read once, by the program's start.
        return hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b""
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
