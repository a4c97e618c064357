"""What others have asked of a tree, as the ledger remembers it."""

from __future__ import annotations

from typing import NamedTuple


class AskNote(NamedTuple):
    """A line of the ledger about something that was asked for from another node.

    Attributes:
        at: Seconds since the epoch.
        path: What it was about.
        what: As it is called on the control socket: ``stop``, ``restart``, …
        by: Who has asked for it, and where: ``root on n1``.
        refused: Why it was not carried out; "": it was, or tried.
    """

    at: float
    path: str
    what: str
    by: str
    refused: str

    def concerns(self, path: str) -> bool:
        """Whether it is about the service at *path*."""
        return path == self.path or path.startswith(f"{self.path}/")
