"""``sprag up``: programs and services from a file, without writing Python."""

from __future__ import annotations

import sys
from typing import Any, cast

import click

from sprag_cli.commands import options, running
from sprag_cli.complete.prompt import FileName


class _Formation(click.ParamType[dict[str, int]]):
    """How many of each program: ``web=2,worker=3``."""

    name = "formation"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, int]:
        """Return the numbers by name."""
        from sprag_cli.up.replicas import parse_formation

        if isinstance(value, dict):
            return cast("dict[str, int]", value)  # the default
        try:
            return parse_formation(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(epilog=running.EXITS_OF_RUN)
@click.argument(
    "file", required=False, type=FileName("*.toml", "Procfile*", "*.procfile"), metavar="[FILE]"
)
@click.option("--check", is_flag=True, help="Say what is wrong with it, and start nothing.")
@click.option("--dry-run", is_flag=True, help="Print the tree that would be, and start nothing.")
@click.option(
    "--formation",
    type=_Formation(),
    default=dict[str, int],
    metavar="NAME=NUMBER,…",
    help="How many of each program, as in web=2,worker=3 or all=2.",
    show_default=False,
)
@click.option(
    "--abort-on-exit",
    is_flag=True,
    help="Stop all when the first program exits, and end with its exit code.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Look at the file, and at each save restart what has changed, and nothing else.",
)
@running.options_of_running
@options.in_ascii
def up(**asked: Any) -> None:
    """Run the programs and services that a file declares, until asked to stop.

    FILE is a sprag.toml, or a Procfile if its name does not end with .toml; by default the first
    of sprag.toml and Procfile that is here. Signals, logs, tree and exit codes are those of 'sprag
    run'. --check ends with 1 if something is likely wrong.
    """
    from sprag_cli.up.up import UpOptions, up

    source = click.get_current_context().get_parameter_source("shutdown_timeout")
    given = source is not click.core.ParameterSource.DEFAULT
    sys.exit(up(UpOptions(**asked, keeps_budget=given)))
