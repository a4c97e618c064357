"""``sprag run --workers``: the parent, whose children are the same command line once more."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag.cluster.serving import Serving
from sprag.control.place import workers_directory
from sprag.process import sockets
from sprag.workers.parent import Workers
from sprag.workers.plan import MARGIN, Plan, cores, same_command, same_directory
from sprag_cli.term.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag_cli.run.options import RunOptions

WATCHDOG: Final = 30.0
"""Seconds within which a worker has to show that its loop turns, where none are given."""


class NotServed(CommandError):
    """Raised when there is no socket for what workers agree on."""

    exit_code = ExitCode.NEVER_CAME_UP


@contextmanager
def served(options: RunOptions) -> Generator[Serving]:
    """Serve what the workers agree on, for the length of the block.

    Beside their control sockets, if they have any: what is left of both after a SIGKILL is removed
    by the next app.

    Raises:
        NotServed: There is no socket for that.
    """
    serving = Serving()
    try:
        name = options.name or name_of(options.target)
        serving.open(Path(workers_directory(name)) if options.control else None)
    except OSError as error:
        raise NotServed(f"cannot listen to workers: {error.strerror or error}") from None
    try:
        yield serving
    finally:
        serving.close()


def parent_of(options: RunOptions, serving: Serving) -> Workers:
    """Return the root of a tree of workers, which inherit the sockets that are open."""
    assert options.workers is not None
    name = options.name or name_of(options.target)
    inherited = sockets.numbers()
    plan = Plan(
        name=name,
        count=options.workers or cores(),
        words=same_command(),
        cwd=same_directory(),
        env_file=None if options.env_file is None else Path(options.env_file),
        sockets=tuple(inherited.values()),
        socket_names=tuple(inherited),
        sockets_outlive_us=sockets.outlive_us(),
        max_lifetime=options.max_lifetime,
        max_memory=options.max_memory,
        control=Path(workers_directory(name)) if options.control else None,
        engine=serving.path,
        watchdog=options.watchdog or WATCHDOG,
        shutdown=options.shutdown_timeout,
    )
    return Workers(plan, sockets.close, serving)


def options_of_parent(options: RunOptions) -> RunOptions:
    """Return how the parent itself is run: what is asked of the loop, is of the workers'."""
    return replace(
        options,
        shutdown_timeout=options.shutdown_timeout + 2 * MARGIN,
        name=options.name or name_of(options.target),
        watchdog=None,
        watchdog_exit=False,
    )


def name_of(target: str) -> str:
    """Return what the app is called where nobody says so: its code is not looked at here."""
    return re.split(r"[.:]", target, maxsplit=1)[0] or "app"
