"""``sprag _stdio``: what ``sprag -H`` runs on the other machine."""

from __future__ import annotations

import sys

import click


@click.command(name="_stdio", hidden=True)
def _stdio() -> None:
    """Answer another sprag over stdin and stdout."""
    from sprag_cli.app.stdio import serve

    sys.exit(serve(0, 1))
