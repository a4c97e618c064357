"""``sprag tree``: the living tree of a running app."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.app.defaults import EVERY
from sprag_cli.commands import options


@options.about_services(
    "nothing shown is failed", "something shown is failed, or a node does not answer"
)
@options.paths()
@click.option("--json", is_flag=True, help="Print JSON; with --watch one object per change.")
@click.option("--watch", is_flag=True, help="Show it live until Ctrl-C; changes only, on a pipe.")
@click.option(
    "--interval",
    type=options.Seconds(0.1),
    default=EVERY,
    metavar="SECONDS",
    help="With --watch: time between two looks.",
)
@click.option(
    "--depth",
    type=options.Whole(min=0),
    metavar="LEVELS",
    help="Levels to show below the first.  [default: all]",
)
@click.option(
    "--cluster", is_flag=True, help="The trees of all nodes, or what is below PATH in each."
)
@click.option("--failed", is_flag=True, help="Only what has failed, and the way to it.")
@options.in_ascii
@options.app
@options.timeout()
def tree(**asked: Any) -> None:
    """Show the living tree of a running app.

    {selectors} One path is where the tree begins; several, and globs, are shown with the way to
    them.
    """
    from sprag_cli.draw.tree import TreeOptions, show

    sys.exit(show(TreeOptions(**asked)))
