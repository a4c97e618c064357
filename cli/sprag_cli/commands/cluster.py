"""``sprag cluster``: what an engine that nodes share needs."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.term.errors import CommandError


@click.command()
@click.argument("action", type=click.Choice(["init"]), metavar="init")
@click.option("--print", "is_printed", is_flag=True, help="Write it to stdout; nothing is done.")
def cluster(**asked: Any) -> None:
    """Write what PostgreSQL needs, for nodes to share it.

    It is SQL, for psql. Nodes do it by themselves where their user may; it does no harm a second
    time. Redis and etcd need nothing.
    """
    if not asked["is_printed"]:
        raise CommandError(
            "nothing is done in a database from here: use sprag cluster init --print"
        )
    from sprag.cluster.engines.postgres_sql import INIT

    sys.stdout.write(INIT)
