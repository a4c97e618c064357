"""``sprag run``: load an app, run it, and end with its exit code.

Only `run` and `check` load gevent; `entry` has patched the standard library by then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

import sprag
from sprag import host
from sprag._exit_codes import ExitCode
from sprag.exceptions import BadSocket, CannotListen, SpragError
from sprag.process import sockets
from sprag.process.listening import listen
from sprag.process.log_queue import flush_logs
from sprag.process.sd_notify import withdraw
from sprag.process.shared_log import share
from sprag.process.signals import has_terminal, take_signals_back
from sprag.process.worker import reloads, take_up, tell_why, worker
from sprag_cli.draw.render import render
from sprag_cli.run.load import load, look_for
from sprag_cli.run.logs import configure
from sprag_cli.run.opening import open_for_workers, open_sockets, serve
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import discard_unwritten
from sprag_cli.term.screen import screen_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from sprag_cli.run.options import Running, RunOptions


class BadName(CommandError):
    """Raised when the name given on the command line cannot name an app."""

    exit_code = ExitCode.USAGE


class BadWorkers(CommandError):
    """Raised when an option for workers is given without any, or none can do what is asked."""

    exit_code = ExitCode.USAGE


class BadEnvironment(CommandError):
    """Raised when the file of variables cannot be read."""

    exit_code = ExitCode.USAGE


class NotStarted(CommandError):
    """Raised when sprag refuses to run the tree."""

    exit_code = ExitCode.NEVER_CAME_UP


def run_app(options: RunOptions) -> int:
    """Carry out ``sprag run``: blocks until the app has ended.

    Returns:
        The exit code.

    Raises:
        CommandError: The target cannot be loaded or run; the error says why.
    """

    def made() -> sprag.Service:
        if options.env_file is not None and worker() is None:
            os.environ.update(read_environment(options.env_file))
        root = cast("sprag.Service", load(options.target, is_service=_is_service))
        serve(root, options.target, options.binds, options.socket_mode)
        return root

    take_up()
    if (number := reloads()) is not None:
        # The tree is shown once, and nobody but us is kept waiting by a delay.
        options = replace(options, tree=options.tree and number == 1, drain_delay=0.0)
    is_reloader = options.reload and number is None
    workers = None if is_reloader else _workers_asked(options)
    if workers is not None or worker() is not None:
        share()
    if is_reloader or worker() is not None:
        options = replace(options, ops_port=None)  # whose it is, opens it
    try:
        if is_reloader:
            from sprag_cli.run.reload import run_reloading

            return run_reloading(options)
        if workers is not None:
            return _run_workers(workers, options)
        open_sockets(options.binds, options.socket_mode)
        return run_made(made, options if worker() is None else replace(options, tree=False))
    except (BadSocket, CannotListen) as error:
        raise NotStarted(str(error)) from None
    finally:
        sockets.close()


def _run_workers(workers: Any, options: RunOptions) -> int:
    root: Any = None

    def parent() -> sprag.Service:
        nonlocal root
        root = workers.parent_of(options, serving)
        return cast("sprag.Service", root)

    open_for_workers(options.binds, options.socket_mode)
    with workers.served(options) as serving:
        code = run_made(parent, workers.options_of_parent(options))
    if root is not None and root.fleet.misuse:  # a Ctrl-C may come before there is one
        raise BadWorkers(root.fleet.misuse)
    return code


def _workers_asked(options: RunOptions) -> Any:
    """Return the module that makes the parent of workers; None: this is to run the app itself.

    Raises:
        BadWorkers: An option makes no sense without workers.
        BadEnvironment: What each worker is to read cannot be read.
        CommandError: There is no such target.
    """
    if options.workers is None:
        for option, value in (
            ("--max-lifetime", options.max_lifetime),
            ("--max-memory", options.max_memory),
        ):
            if value is not None:
                raise BadWorkers(f"{option} is for workers: add --workers, or leave it out")
        return None
    if worker() is not None:
        return None
    theirs = {} if options.env_file is None else read_environment(options.env_file)
    if "PYTHONPATH" not in theirs:
        look_for(options.target)
    from sprag_cli.run import workers  # who runs none loads none

    return workers


def read_environment(file: str) -> dict[str, str]:
    """Return the variables of an env file.

    Raises:
        BadEnvironment: It cannot be read.
    """
    from sprag.programs.env_file import read_env_file

    try:
        return read_env_file(Path(file))
    except OSError as error:
        raise BadEnvironment(f"--env-file {file}: {error.strerror or error}") from None
    except SpragError as error:
        raise BadEnvironment(f"--env-file {error}") from None


def run_made(
    make: Callable[[], sprag.Service],
    options: Running,
    on_up: Callable[[sprag.Service], None] | None = None,
) -> int:
    """Run the tree that *make* returns as the process: blocks until it has ended.

    Args:
        make: May import the user's code.
        options: How to run it.
        on_up: Called with the root once the tree is up; must not block.

    Returns:
        The exit code.

    Raises:
        CommandError: It cannot be made or run; the error says why.
    """
    take_signals_back()
    withdraw()  # the app may start processes as soon as it is imported
    if options.name is not None and (not options.name or "/" in options.name):
        raise BadName("--name takes a text that is not empty and holds no slash")
    configure(options.log_format, options.log_level)
    try:
        return _run(make, options, on_up)
    finally:
        flush_logs()  # before it is said how it ended


def _run(
    make: Callable[[], sprag.Service],
    options: Running,
    on_up: Callable[[sprag.Service], None] | None,
) -> int:
    try:
        with _quiet_interrupt():
            root = make()
    except KeyboardInterrupt:
        return ExitCode.FORCED_INT
    except CommandError as error:
        if tell_why(error.in_short()) and error.exit_code == ExitCode.USAGE:
            return error.exit_code  # its parent says it, once for all
        raise

    def is_up() -> None:
        if on_up is not None:
            on_up(root)
        # A terminal that is closed just now, or cannot print it, must not end the app.
        with suppress(OSError, ValueError):
            screen = screen_of(sys.stdout)
            if screen.terminal and options.tree:
                node = sprag.to_json(sprag.Service.snapshot(root))
                lines = render(node, width=screen.width, now=time.time(), charset=screen.charset)
                click.echo("\n".join(map(screen.painted, lines)), color=True)

    try:
        code = host.run(
            root,
            name=options.name,
            shutdown_timeout=options.shutdown_timeout,
            control=options.control,
            on_up=is_up,
            ends_process=True,
            watchdog=options.watchdog,
            watchdog_exits=options.watchdog_exit,
            drain_delay=options.drain_delay,
            ops=None if options.ops_port is None else listen(options.ops_port),
        )
    except SpragError as error:
        raise NotStarted(str(error)) from error
    for stream in (sys.stdout, sys.stderr):
        discard_unwritten(stream)  # without a reader: the exit code stays ours
    return code


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
    numbers = [signal.SIGINT]
    if os.getpid() == 1:
        numbers += [signal.SIGTERM, signal.SIGHUP] if has_terminal() else [signal.SIGTERM]
    # What is ignored stays ignored: a shell does that to SIGINT for what it starts with '&'.
    numbers = [each for each in numbers if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is leave:  # the app may have installed its own
                signal.signal(number, handler)
