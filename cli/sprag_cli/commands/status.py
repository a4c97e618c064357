"""``sprag status``: a service in full."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options


@options.about_services(
    "done, and none of these services has failed", "done, and one of these services has failed"
)
@options.paths()
@options.failed
@options.as_json
@click.option(
    "--lines",
    type=options.Whole(min=0),
    metavar="NUMBER",
    help="How many lines of its log to show.  [default: 10, or what the window has room for]",
)
@click.option(
    "--tracebacks",
    type=options.Whole(min=0),
    metavar="NUMBER",
    help="How many failures to show with their traceback; the others get a line.  "
    "[default: 1, or what the window has room for of it]",
)
@options.in_ascii
@options.app
@options.timeout()
def status(**asked: Any) -> None:
    """Show a service in full.

    Its policy, counters, last failures and last log lines. {selectors} Without one: the root.
    """
    from sprag_cli.draw.status import StatusOptions, show

    sys.exit(show(StatusOptions(**asked)))
