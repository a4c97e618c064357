"""``sprag top``: what each service uses, live."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag._defaults import LONGEST_LOOK, MOST_ROWS, SORTS
from sprag_cli.commands import options


@options.about_services("done")
@options.paths()
@options.failed
@click.option("--json", is_flag=True, help="Print JSON; one object a measurement.")
@click.option("--once", is_flag=True, help="Measure once, print, end.")
@click.option(
    "--interval",
    type=options.Seconds(0.1, most=LONGEST_LOOK),
    default=1.0,
    metavar="SECONDS",
    help="How long one measurement takes.",
)
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="cpu",
    help="What the first rows have most of.",
)
@click.option(
    "--limit",
    type=options.Whole(min=0, max=MOST_ROWS),
    default=30,
    metavar="NUMBER",
    help="How many rows to print; a live table is as long as the window.",
)
@options.in_ascii
@options.app
@options.timeout(text="How long to wait for the app's answer, beyond the interval.")
def top(**asked: Any) -> None:
    """Show what each service uses, live.

    CPU share, greenlets, timers, events. {selectors} What is below counts too.

    CPU is that of the thread with the loop, by sampling, which costs the app nothing while
    nobody looks. On a terminal the keys in the second line sort, q or Ctrl-C ends.
    """
    from sprag_cli.draw.top import TopOptions, show

    sys.exit(show(TopOptions(**asked)))
