"""``sprag run``: an app as a process."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag._defaults import HOST, PORT
from sprag_cli.commands import options

_EXITS = """\b
Exit codes:
  0    stopped as asked
  1    the tree gave up
  2    wrong usage
  3    never came up
  4    stopped, but with stragglers or over the time limit
  129  ended by a SIGHUP that came after the app's own end
  130  ended at once by a second SIGINT (143: SIGTERM)"""


@click.command(epilog=_EXITS)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option("--name", help="What 'sprag tree --app' calls it.  [default: the app's own name]")
@options.shutdown_timeout("How long the whole tree may take to stop after a signal.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    default="auto",
    envvar="SPRAG_LOG_FORMAT",
    show_envvar=True,
    help="auto: lines for people on a terminal, else one JSON object per line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="info",
    envvar="SPRAG_LOG_LEVEL",
    show_envvar=True,
    help="The lowest level that is shown.",
)
@click.option(
    "--control/--no-control",
    default=True,
    help="Listen on a Unix socket, for 'sprag tree' and its like.",
)
@click.option("--tree/--no-tree", default=True, help="Print the tree once it is up (terminals).")
@click.option(
    "--host",
    metavar="ADDRESS",
    help=f"Where the web server listens, if the app has routes.  [default: {HOST}]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help=f"Its port; 0 for any that is free.  [default: {PORT}]",
)
@click.option("--unix-socket", metavar="PATH", help="Listen on a Unix socket instead of a port.")
@click.option(
    "--watchdog",
    type=options.Seconds(above=True),
    metavar="SECONDS",
    envvar="SPRAG_WATCHDOG",
    show_envvar=True,
    help="Say who holds the loop for longer than this.  [default: do not watch]",
)
@click.option(
    "--watchdog-exit",
    is_flag=True,
    help="With --watchdog: end the process then, with exit code 4.",
)
def run(**asked: Any) -> None:
    """Run an app until it is asked to stop.

    MODULE:ATTRIBUTE names an App, a Service or a Supervisor, or a class or function that makes
    one without arguments, as in shop.main:app. The first SIGTERM or SIGINT stops the tree,
    a second one ends the process at once. A SIGHUP stops it, too, if there is a terminal;
    without one it reloads it, as 'sprag reload' does.
    """
    from sprag_cli.run.run import RunOptions, run_app

    sys.exit(run_app(RunOptions(**asked)))
