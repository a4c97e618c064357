"""``sprag run``: an app as a process."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag._defaults import HOST, PORT
from sprag_cli.commands import options


@click.command(epilog=options.EXITS_OF_RUN)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@options.running
@click.option(
    "--host",
    metavar="ADDRESS",
    help=f"Where the web server listens, if the app has routes.  [default: {HOST}]",
)
@click.option(
    "--port",
    type=options.Whole(0, 65535),
    metavar="PORT",
    help=f"Its port; 0 for any that is free.  [default: {PORT}]",
)
@click.option("--unix-socket", metavar="PATH", help="Listen on a Unix socket instead of a port.")
def run(**asked: Any) -> None:
    """Run an app until it is asked to stop.

    MODULE:ATTRIBUTE names an App, a Service or a Supervisor, or a class or function that makes
    one without arguments, as in shop.main:app. The first SIGTERM or SIGINT stops the tree,
    a second one ends the process at once. A SIGHUP stops it, too, if there is a terminal;
    without one it reloads it, as 'sprag reload' does.
    """
    from sprag_cli.run.run import RunOptions, run_app

    sys.exit(run_app(RunOptions(**asked)))
