"""``sprag hold``: exits wait undecided, for who debugs."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options


@options.about_services("held", "refused")
@options.paths(required=True)
@click.option(
    "--for",
    "seconds",
    type=options.Duration(),
    metavar="TIME",
    help="Release it by itself after so long: 90, 90s, 30m, 1h30m.  [default: never]",
)
@options.as_json
@options.in_ascii
@options.app
@options.timeout()
def hold(**asked: Any) -> None:
    """Hold services: the ends of them and of all below wait undecided.

    Nobody restarts them and no sibling is touched, until 'sprag release'; they are shown as held,
    and are not ready. Stops and starts by hand work. {selectors}
    """
    from sprag_cli.act.hold import HoldOptions, hold

    sys.exit(hold(HoldOptions(failed=False, **asked)))
