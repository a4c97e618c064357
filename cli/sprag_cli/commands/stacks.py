"""``sprag stacks``: where every greenlet is, by service."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.commands import options


@options.about_services("done")
@options.paths()
@options.failed
@options.as_json
@click.option("--all", is_flag=True, help="Show sprag's own greenlets and gevent's hub too.")
@options.in_ascii
@options.app
@options.timeout()
def stacks(**asked: Any) -> None:
    """Show where every greenlet is, by service.

    {selectors} What is below counts too. Without one: all, and those of no service.
    """
    from sprag_cli.draw.stacks import StackOptions, show

    sys.exit(show(StackOptions(**asked)))
