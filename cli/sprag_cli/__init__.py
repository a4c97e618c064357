"""The ``sprag`` command: runs apps, and shows the living tree of those that run."""

from sprag_cli.entry import main

__all__ = ["main"]
