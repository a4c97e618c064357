"""``sprag init``: the beginning of a project."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("name", metavar="NAME")
def init(name: str) -> None:
    """Begin a project: a small app with a test, a Dockerfile and a unit of systemd.

    They come into a new folder NAME, and run at once. Nothing that is there is changed.
    """
    from sprag_cli.new.begin import begin

    sys.exit(begin(name, Path.cwd()))
