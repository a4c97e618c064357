"""``sprag tree`` as most people type it: alone.

Nothing is to be parsed then, and click, a third of such a start, is not loaded.
"""

from __future__ import annotations

import gc
import sys

from sprag_cli.draw.tree import TreeOptions, show
from sprag_cli.term.ending import said_in_one_line
from sprag_cli.term.output import discard_unwritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def tree() -> NoReturn:
    """Show the tree of the only app that runs, once, and leave the process with the exit code."""
    gc.disable()  # what is made here ends with the process
    try:
        with said_in_one_line():
            sys.exit(show(TreeOptions()))
    finally:
        discard_unwritten(sys.stdout)
