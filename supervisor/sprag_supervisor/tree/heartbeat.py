"""What is known of a service that has to beat."""

from __future__ import annotations

from typing import Protocol


class Heartbeat(Protocol):
    """The times within which it has to."""

    beaten: float
    """Monotonic time of the last beat, or of what counts as one."""
    incarnation: int
