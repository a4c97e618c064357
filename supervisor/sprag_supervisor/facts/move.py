"""What is remembered of a singleton that has come here, or has left."""

from __future__ import annotations

from typing import Literal, NamedTuple

Moved = Literal["begins", "ends", "stays failed"]


class MoveNote(NamedTuple):
    """A line of the ledger about what runs once, of several trees.

    Attributes:
        at: Seconds since the epoch.
        path: Of the singleton.
        what: Its child ``begins`` to run here, or has run here and ``ends``; or all have tried,
            and here it ``stays failed``.
        because: Why, for people.
        token: Of its lease.
        origin: Of what ``begins``: which node had it before; None: nobody, as far as is known.
    """

    at: float
    path: str
    what: Moved
    because: str
    token: int | None
    origin: str | None = None

    def concerns(self, path: str) -> bool:
        """Whether it is about the service at *path*."""
        return path == self.path or path.startswith(f"{self.path}/")
