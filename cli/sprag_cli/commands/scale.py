"""``sprag scale``: how many workers a pool has."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.app.defaults import ACTING
from sprag_cli.commands import options
from sprag_cli.complete.prompt import ServicePath


@options.acting
@click.argument("path", metavar="PATH", type=ServicePath())
@click.argument("size", metavar="N", type=options.Whole(1, 10_000))
@options.as_json
@options.no_wait
@options.in_ascii
@options.app
@options.timeout(ACTING, "How long to wait until it is done; it goes on.")
def scale(**asked: Any) -> None:
    """Let a pool have N workers, until it restarts.

    PATH is a WorkerPool, as in shop/packing or packing. Workers that are too many finish what they
    have in hand.
    """
    from sprag_cli.act.scale import ScaleOptions, scale

    sys.exit(scale(ScaleOptions(**asked)))
