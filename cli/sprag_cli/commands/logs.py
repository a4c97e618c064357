"""``sprag logs``: what services have logged, and what programs have written."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Any

import click

from sprag_cli.commands import options


class Since(options.Duration):
    """A length of time, or a moment in ISO 8601; without a zone, as the clock is here."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return how many seconds ago that is."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            pass
        try:
            age = time.time() - datetime.fromisoformat(str(value).strip()).timestamp()
        except (ValueError, OverflowError):
            accepted = "is neither a length of time, as 90s, 5m, 1h30m, nor a moment, as "
            self.fail(f"{value!r} {accepted}2026-11-29T21:36 or 2026-11-29T21:36:00Z.", param, ctx)
        if age < 0:
            self.fail(f"{value!r} is in the future.", param, ctx)
        return min(age, 1e9)


@options.about_services(
    "done; with -f: ended by Ctrl-C, by who reads, or with the app", "with -f: cut off by the app"
)
@options.paths()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the app ends.")
@click.option(
    "-n",
    "--lines",
    type=options.Whole(min=0),
    metavar="NUMBER",
    help="How many records to begin with, of each PATH.  [default: 100; with --since: all]",
)
@click.option(
    "--since",
    type=Since(),
    metavar="TIME",
    help="None that are older: 90, 5m, 1h30m, or a moment in ISO 8601.",
)
@click.option("--json", is_flag=True, help="Print one JSON object a line.")
@options.in_ascii
@options.app
@options.timeout()
def logs(**asked: Any) -> None:
    """Show what services have logged, and what programs have written.

    {selectors} What is below counts too. Without one: the whole app.
    """
    from sprag_cli.draw.logs import LogsOptions, show

    sys.exit(show(LogsOptions(failed=False, **asked)))
