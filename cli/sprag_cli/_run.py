"""``sprag run``: load an app, run it, and end with its exit code.

This module is the only one that loads sprag, and with it gevent; `_entry` has patched the
standard library by then.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, cast

import click

import sprag
from sprag import host
from sprag.exceptions import SpragError
from sprag_cli._exit import CommandError, RunExit
from sprag_cli._load import load
from sprag_cli._logs import LogFormat, configure
from sprag_cli._render import render
from sprag_cli._screen import screen_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked of ``sprag run``.

    Attributes:
        target: ``module:attribute`` of the app.
        name: What the app is called by ``sprag tree``. ``None`` leaves that to the app.
        shutdown_timeout: Seconds the whole tree may take to stop.
        log_format: ``auto``, ``console`` or ``json``.
        log_level: The lowest level that is shown.
        control: Whether to listen for ``sprag tree`` and its like.
        tree: Whether to print the tree, on a terminal, once it is up.
        watchdog: Seconds after which who holds the loop is named. ``None``: nobody watches.
        watchdog_exit: Whether the process ends then.
    """

    target: str
    name: str | None = None
    shutdown_timeout: float = 30.0
    log_format: LogFormat = "auto"
    log_level: str = "info"
    control: bool = True
    tree: bool = True
    watchdog: float | None = None
    watchdog_exit: bool = False


class BadTimeout(CommandError):
    """Raised when the time for the shutdown is no number of seconds."""

    exit_code = RunExit.USAGE


class NotStarted(CommandError):
    """Raised when sprag refuses to run the tree."""

    exit_code = RunExit.NEVER_CAME_UP


def run(options: RunOptions) -> int:
    """Carry out ``sprag run``: blocks until the app has ended.

    Returns:
        The exit code.

    Raises:
        CommandError: The target cannot be loaded or run; the error says why.
    """
    if math.isnan(options.shutdown_timeout):
        raise BadTimeout("--shutdown-timeout takes seconds, 0 or more; 'inf' waits for ever")
    configure(options.log_format, options.log_level)
    try:
        with _quiet_interrupt():
            root = cast("sprag.Service", load(options.target, is_service=_is_service))
    except KeyboardInterrupt:
        return RunExit.FORCED_INT

    def show_tree() -> None:
        # A terminal that is closed just now, or cannot print it, must not end the app.
        with suppress(OSError, ValueError):
            screen = screen_of(sys.stdout)
            if screen.terminal and options.tree:
                node = sprag.to_json(root.snapshot())
                lines = render(node, width=screen.width, now=time.time(), charset=screen.charset)
                click.echo("\n".join(map(screen.painted, lines)), color=True)

    try:
        code = host.run(
            root,
            name=options.name,
            shutdown_timeout=options.shutdown_timeout,
            control=options.control,
            on_up=show_tree,
            ends_process=True,
            watchdog=options.watchdog,
            watchdog_exits=options.watchdog_exit,
        )
    except SpragError as error:
        raise NotStarted(str(error)) from error
    _flush_output()
    return code


def _flush_output() -> None:
    """Write what is buffered; without a reader, drop it: the exit code stays ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_service(found: object) -> bool:
    return isinstance(found, sprag.Service)


@contextmanager
def _quiet_interrupt() -> Generator[None]:
    """End quietly on Ctrl-C while the user's app is imported.

    A KeyboardInterrupt that hits gevent's hub is printed by it; a SystemExit is not.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    # Process 1, as in a container, ignores what has no handler: there SIGTERM would be lost.
    numbers = (signal.SIGINT, signal.SIGTERM) if os.getpid() == 1 else (signal.SIGINT,)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is leave:  # the app may have installed its own
                signal.signal(number, handler)
