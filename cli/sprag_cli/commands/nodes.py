"""``sprag nodes``: the nodes of an app that has a cluster."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options


@options.about_services("all nodes are up, and answer", "a node is lost, or does not answer")
@click.option("--json", is_flag=True, help="Print JSON.")
@options.in_ascii
@options.app
@options.timeout()
def nodes(**asked: Any) -> None:
    """Show the nodes of an app, and what each runs once of all.

    Any one of them is asked, and asks the others through the engine that they share. A node whose
    beat stands still is lost.
    """
    from sprag_cli.draw.nodes import NodesOptions, show

    sys.exit(show(NodesOptions(**asked)))
