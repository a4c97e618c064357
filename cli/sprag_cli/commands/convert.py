"""``sprag convert``: from other process managers to ``sprag.toml``."""

from __future__ import annotations

import sys
from typing import Any

import click

from sprag_cli.complete.prompt import FileName

_EXITS = """\b
Exit codes:
  0  converted
  1  the output could not be written
  2  wrong usage, or a file that cannot be read"""


@click.command(epilog=_EXITS)
@click.argument("file", type=FileName("*.conf", "*.ini"), metavar="SUPERVISORD.CONF")
@click.option(
    "-o",
    "--output",
    type=FileName("*.toml"),
    metavar="FILE",
    help="Where to write it; a file that is there is left alone.  [default: stdout]",
)
def convert(**asked: Any) -> None:
    """Write a supervisord.conf as sprag.toml.

    What has no counterpart is listed on stderr, with what to do instead. Nothing is started, and
    the file is left as it is.
    """
    from sprag_cli.up.convert import convert

    sys.exit(convert(asked["file"], asked["output"]))
