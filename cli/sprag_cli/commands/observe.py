"""``sprag observe``: a page in a browser about the apps that run."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options
from sprag_cli.complete.prompt import AppName


@click.command(
    epilog="""\b
Exit codes:
  0    ended by Ctrl-C or SIGTERM
  1    the port is taken
  2    wrong usage
  3    no such app"""
)
@click.argument("app", metavar="[APP]", required=False, type=AppName())
@click.option(
    "--port",
    type=options.Whole(min=0, max=65535),
    default=0,
    metavar="PORT",
    help="Where to listen, of this machine alone.  [default: any that is free]",
    show_default=False,
)
@click.option("--write", is_flag=True, help="Let the page start, stop and restart services.")
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Open it in a browser; or print its address, which is a secret.",
)
def observe(**asked: Any) -> None:
    """Show how apps are in a browser, live.

    APP is a name, a pid or a socket. Without it the page has all apps of this user to choose
    from. It is served at 127.0.0.1, to who has the token in its address; with a --port, a machine
    far away can be looked at through 'ssh -L'. Read-only, unless --write is given.
    """
    from sprag_cli.run.observe import ObserveOptions, observe

    sys.exit(observe(ObserveOptions(**asked)))
