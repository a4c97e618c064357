"""``sprag reload``: services read their configuration again."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag._defaults import RELOAD_TIMEOUT
from sprag_cli.commands import options


@options.about_services(
    "reloaded", "an on_reload has raised; the others have reloaded", "not all were done in time"
)
@options.paths()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show who would reload, in which order, and what would change.",
)
@options.as_json
@options.in_ascii
@options.app
@options.timeout(RELOAD_TIMEOUT, "How long all may take together; what runs then is killed.")
def reload(**asked: Any) -> None:
    """Have services read their configuration again: call their on_reload, parents first.

    {selectors} Without a PATH it is the whole app. All below reload, too, one after another; who
    does not run is skipped, and nobody is restarted. With 'sprag up' the app reads its file again
    first, and restarts what has changed.
    """
    from sprag_cli.act.reload import ReloadOptions, reload

    sys.exit(reload(ReloadOptions(failed=False, **asked)))
