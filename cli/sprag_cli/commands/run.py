"""``sprag run``: an app as a process."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from sprag._defaults import HOST, PORT
from sprag_cli.commands import options, running
from sprag_cli.complete.prompt import FileName
from sprag_cli.run import binding


class _Workers(click.ParamType[int]):
    """How many workers: 1 or more, or ``auto``, which is 0 here."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        text = str(value)
        if text == "auto":
            return 0
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST):
            self.fail(f"{value!r} is no number of workers: use 1 to {_MOST}, or auto.", param, ctx)
        return int(text)


class _Size(click.ParamType[int]):
    """A size of memory as people write it: ``500M``, ``2G``; bytes without a letter."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        found = re.fullmatch(r"(\d{1,12})([KMGT]?)B?", str(value).strip().upper(), re.ASCII)
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no size: use 500M, 2G, or a number of bytes.", param, ctx)
        return int(found[1]) << 10 * " KMGT".index(found[2] or " ")


_MOST: Final = 256
_SHUTDOWN_OF_RELOAD: Final = 3.0
"""Seconds for the stop with --reload, where none are given: somebody waits."""


@click.command(epilog=running.EXITS_OF_RUN)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@running.options_of_running
@options.setting(
    "--host",
    metavar="ADDRESS",
    help=f"Where the web server listens, if the app has routes.  [default: {HOST}]",
)
@options.setting(
    "--port",
    type=options.Whole(0, 65535),
    metavar="PORT",
    help=f"Its port; 0 for any that is free.  [default: {PORT}]",
)
@options.setting("--unix-socket", metavar="PATH", help="Listen on a Unix socket instead of a port.")
@options.setting(
    "--bind",
    type=binding.Binding(),
    multiple=True,
    metavar="[NAME=]ADDRESS",
    help="Listen at HOST:PORT, [IPV6]:PORT or unix:PATH; several times for several. With a NAME "
    "for a service, in sprag.host.sockets; without one for the web server.",
)
@options.setting(
    "--fd",
    type=binding.Descriptor(),
    multiple=True,
    metavar="[NAME=]NUMBER",
    help="Listen on a socket that the process was started with, by its descriptor; likewise.",
)
@options.setting(
    "--socket-mode",
    type=binding.Mode(),
    metavar="MODE",
    help="The rights of Unix sockets, as in 660.  [default: what the umask leaves]",
)
@options.setting(
    "--workers",
    type=_Workers(),
    metavar="NUMBER|auto",
    help="Run so many processes of the app, which share its sockets, below a parent; auto: one "
    "for each core.  [default: a single process]",
)
@options.setting(
    "--max-lifetime",
    type=options.Duration(),
    metavar="TIME",
    help="With --workers: replace each after so long, as in 90s, 12h or 7d, give or take a tenth.",
)
@options.setting(
    "--max-memory",
    type=_Size(),
    metavar="SIZE",
    help="With --workers: replace one that has more than this resident, as in 500M.",
)
@options.setting(
    "--env-file",
    type=FileName("*.env", ".env*"),
    metavar="FILE",
    help="Variables for the app, a NAME=value a line; with --workers read for each new one.",
)
@options.setting(
    "--reload",
    is_flag=True,
    help="For development: restart the app when a Python file below the current folder is saved.",
)
@options.setting(
    "--reload-dir",
    multiple=True,
    metavar="FOLDER",
    help="With --reload: watch this folder instead of the current one; several times for several.",
)
@options.setting(
    "--reload-include",
    multiple=True,
    metavar="GLOB",
    help="With --reload: other files, too, as in '*.html' or 'pages/*.css'.",
)
@options.setting(
    "--reload-exclude",
    multiple=True,
    metavar="GLOB",
    help="With --reload: not these files, nor what is in these folders, as in 'tests'.",
)
@click.pass_context
def run(context: click.Context, /, **asked: Any) -> None:
    """Run an app until it is asked to stop.

    MODULE:ATTRIBUTE names an App, a Service or a Supervisor, or a class or function that makes
    one without arguments, as in shop.main:app. The first SIGTERM or SIGINT stops the tree,
    a second one ends the process at once. A SIGHUP stops it, too, if there is a terminal;
    without one it reloads it, as 'sprag reload' does.

    Sockets that systemd passes (LISTEN_FDS) are the web server's, but for those that have a name.
    """
    sources = {name: context.get_parameter_source(name) for name in binding.ADDRESSES}
    typed = {name for name, each in sources.items() if each is ParameterSource.COMMANDLINE}
    said = {name: options.said(context, name) for name in binding.ADDRESSES}
    binds = binding.places(asked, typed, said)

    _check_reload(context, asked)
    if asked["reload"] and options.is_default(context, "shutdown_timeout"):
        asked["shutdown_timeout"] = _SHUTDOWN_OF_RELOAD

    from sprag_cli.run.options import RunOptions
    from sprag_cli.run.run import run_app

    sys.exit(run_app(RunOptions(**asked, binds=binds)))


def _check_reload(context: click.Context, asked: dict[str, Any]) -> None:
    """Refuse what --reload cannot be had with, or what is of no use without it.

    What variables say of workers is left out: they may be those of the place where it is deployed.

    Raises:
        click.UsageError: There is such an option.
    """
    if not asked["reload"]:
        for name in ("reload_dir", "reload_include", "reload_exclude"):
            if asked[name] and not options.is_from_variable(context, name):
                said = options.said(context, name)
                raise click.UsageError(f"{said} is for --reload: add that, or leave it out")
        if "--reload" in sys.argv:  # the process was begun for that, and has patched nothing
            raise click.UsageError("--reload is the value of another option: write OPTION=--reload")
        return
    for name in ("workers", "max_lifetime", "max_memory"):
        if asked[name] is not None and not options.is_from_variable(context, name):
            said = options.said(context, name)
            raise click.UsageError(
                f"--reload is for development, and runs one process: leave out {said}; workers get "
                "new code by 'sprag reload'"
            )
        asked[name] = None
    for folder in asked["reload_dir"]:
        if not Path(folder).is_dir():
            said = options.said(context, "reload_dir")
            raise click.UsageError(f"{said}: there is no folder {folder!r}")
