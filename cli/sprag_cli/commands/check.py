"""``sprag check``: what is likely wrong with an app."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options

_EXITS = """\b
Exit codes:
  0  nothing found
  1  something is likely wrong
  2  wrong usage
  3  the module could not be imported"""


@click.command(epilog=_EXITS)
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@options.shutdown_timeout("How long the whole tree may take to stop, as given to 'sprag run'.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Do not apply this rule.")
@options.as_json
@options.in_ascii
def check(**asked: Any) -> None:
    """Look for what is likely wrong with an app.

    The app is imported as 'sprag run' does, and not started. Children that are adopted only when
    a service runs cannot be seen.
    """
    from sprag_cli.check.check import CheckOptions, check_app

    sys.exit(check_app(CheckOptions(**asked)))
