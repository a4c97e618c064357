"""``sprag events``: what happens to the services, as it happens."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options


@options.about_services("ended by Ctrl-C, by --limit, or with the app", "cut off by the app")
@options.paths()
@click.option("--failed", is_flag=True, help="Only failures.")
@click.option("--json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--limit",
    type=options.Whole(min=1),
    metavar="NUMBER",
    help="End after so many changes.  [default: never]",
)
@options.in_ascii
@options.app
@options.timeout()
def events(**asked: Any) -> None:
    """Show how things are, then what changes and what is decided, as it happens.

    {selectors} What is below counts too.
    """
    from sprag_cli.draw.events import EventOptions, follow

    sys.exit(follow(EventOptions(**asked)))
