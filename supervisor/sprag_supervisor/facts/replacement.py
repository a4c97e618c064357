"""What is remembered of processes that have taken the place of others, or were to."""

from __future__ import annotations

from typing import Literal, NamedTuple

Replaced = Literal["replaced", "failed"]


class ReplacementNote(NamedTuple):
    """A line of the ledger about workers of an app, at their parent.

    Attributes:
        at: Seconds since the epoch.
        path: Of the worker; of their parent, where it was about all of them.
        what: They were ``replaced``; or it has ``failed``, and who was there serves on.
        because: Why it was asked for, for people.
        generation: The new one's.
        failure: Why it has failed, with file and line where that is known; else None.
    """

    at: float
    path: str
    what: Replaced
    because: str
    generation: int
    failure: str | None

    def concerns(self, path: str) -> bool:
        """Whether it is about the service at *path*, or who is above or below it."""
        return (
            path == self.path
            or path.startswith(f"{self.path}/")
            or self.path.startswith(f"{path}/")
        )
