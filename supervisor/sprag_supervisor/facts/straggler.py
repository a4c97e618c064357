"""What is told of something that has swallowed its kill."""

from __future__ import annotations

from typing import NamedTuple


class Straggler(NamedTuple):
    """Something that has swallowed its kill and still runs.

    Attributes:
        path: The service it belongs to.
        incarnation: Which life of that service.
        step: What it was doing there: "greenlet", "on_stop", "listener", "timer", ….
    """

    path: str
    incarnation: int
    step: str

    def __str__(self) -> str:
        return f"{self.step} of incarnation {self.incarnation} of {self.path}"
