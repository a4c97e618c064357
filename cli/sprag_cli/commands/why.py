"""``sprag why``: why a service was restarted, or was not."""

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
    type=options.Whole(min=1),
    default=10,
    metavar="NUMBER",
    help="How many decisions to tell, the latest.",
)
@options.in_ascii
@options.app
@options.timeout()
def why(**asked: Any) -> None:
    """Explain why a service was restarted, or was not.

    Which crash led to which decision of its supervisor, who was restarted along with it, and
    how near the limit was. Without a PATH: what was decided anywhere in the app. {selectors}
    """
    from sprag_cli.draw.why import WhyOptions, show

    sys.exit(show(WhyOptions(**asked)))
