"""Which files are of interest to ``--reload``, and who of them has changed.

What is watched is a folder with all below it. Of interest are Python files, but for those in
folders that nobody edits, such as an environment; patterns add to that, and take away.
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.term.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_QUIET: Final = 100
"""Milliseconds without a change after which a save counts as over."""
_MOST: Final = 1000
"""Milliseconds after which it is acted on, though changes still come."""
_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Whose files nobody edits; nor those of folders that begin with a dot, or are environments."""
_ENVIRONMENT: Final = "pyvenv.cfg"
_USUAL: Final = "*.py"
_NEVER: Final = ".*", "flycheck_*"  # what editors put beside a file while it is edited


class CannotWatch(CommandError):
    """Raised when files cannot be watched."""

    exit_code = ExitCode.NEVER_CAME_UP


class Wanted:
    """Tells whether a file is of interest.

    A pattern with a slash is compared with the path below the watched folder, one without with
    each name in it: ``*.html``, ``data``, ``pages/*.css``. What is excluded wins.

    Args:
        folders: The folders that are watched, resolved.
        include: Patterns of what is of interest beside Python files.
        exclude: Patterns of what is not.
        is_environment: Whether a folder is that of an environment.
    """

    def __init__(
        self,
        folders: Iterable[Path],
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        is_environment: Callable[[Path], bool] = lambda folder: (folder / _ENVIRONMENT).exists(),
    ) -> None:
        self._folders = tuple(folders)
        self._include = tuple(map(self._plain, include))
        self._exclude = tuple(map(self._plain, exclude))
        self._is_environment = is_environment

    def __call__(self, path: Path) -> bool:
        """Return whether the file *path* is of interest."""
        folder = next((each for each in self._folders if path.is_relative_to(each)), None)
        if folder is None:
            return False
        below = path.relative_to(folder)
        parents = [each for each in below.parents if each.name]
        if any(_fits(each, pattern) for each in (below, *parents) for pattern in self._exclude):
            return False
        if any("/" in pattern and _fits(below, pattern) for pattern in self._include):
            return True
        if any(self._is_dull(folder, each) for each in parents):
            return False
        if any(_fits(below, pattern) for pattern in self._include):
            return True
        return _fits(below, _USUAL) and not any(_fits(below, pattern) for pattern in _NEVER)

    def _is_dull(self, folder: Path, below: PurePath) -> bool:
        name = below.name
        return name.startswith(".") or name in _FOLDERS or self._is_environment(folder / below)

    def _plain(self, pattern: str) -> str:
        """Return *pattern* as seen from a watched folder: without ``./``, a slash at its end."""
        for folder in self._folders:
            pattern = pattern.removeprefix(f"{folder}/")
        return pattern.removeprefix("./").rstrip("/").removesuffix("/**")


def _fits(below: PurePath, pattern: str) -> bool:
    return fnmatchcase(str(below) if "/" in pattern else below.name, pattern)


class Changes:
    """The files that have changed since they were asked for, as a thread hears of them.

    Args:
        folders: What to watch, with all below, resolved.
        is_wanted: Tells which files are of interest.
        wake: Called in the thread when there is something new.

    Raises:
        CannotWatch: What it takes is not installed.
    """

    def __init__(
        self, folders: Iterable[Path], is_wanted: Callable[[Path], bool], wake: Callable[[], object]
    ) -> None:
        try:
            import watchfiles
        except ImportError as error:
            raise CannotWatch(
                "--reload needs watchfiles, which is not installed: "
                f"pip install 'sprag-otp[reload]' ({error})"
            ) from None
        self._watch = watchfiles.watch
        self._folders = tuple(folders)
        self._is_wanted = is_wanted
        self._wake = wake
        self._lock = threading.Lock()
        self._found: dict[Path, None] = {}
        self._error: Exception | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sprag-reload", daemon=True)
        self._thread.start()

    def take(self) -> list[Path]:
        """Return the files that have changed since the last call, in order.

        Raises:
            CannotWatch: Nobody watches them any more.
        """
        with self._lock:
            found, self._found, error = self._found, {}, self._error
        if error is not None:
            raise CannotWatch(
                f"files cannot be watched: {error} — with WATCHFILES_FORCE_POLLING=1 in the "
                "environment they are looked at again and again instead"
            )
        return sorted(found)

    def close(self) -> None:
        """Watch no more."""
        self._is_over.set()
        self._thread.join(2)

    def _run(self) -> None:
        try:
            for changes in self._watch(
                *self._folders,
                watch_filter=None,
                debounce=_MOST,
                step=_QUIET,
                stop_event=self._is_over,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                found = [path for _, name in changes if self._is_wanted(path := Path(name))]
                if found:
                    with self._lock:
                        self._found.update(dict.fromkeys(found))
                    self._wake()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self._error = error
            self._wake()
