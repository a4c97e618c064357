"""What holds a service, and what is remembered of that when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from sprag_supervisor.loop.clock import Timer

Held = Literal["held", "released", "expired"]


class Hold(NamedTuple):
    """A path that somebody holds: the exits at and below it wait undecided.

    Attributes:
        path: Of the service; a new one that takes its place is held as well.
        since: When it began, in seconds since the epoch.
        until: When it ends by itself, likewise; None: when somebody releases it.
        by: The user id of who has asked for it over the control socket; None: the app itself.
    """

    path: str
    since: float
    until: float | None
    by: int | None


class HoldNote(NamedTuple):
    """A line of the ledger about a hold.

    Attributes:
        at: Seconds since the epoch.
        path: What is held, or was.
        what: ``held``, also when only its time was changed; ``released`` by somebody;
            ``expired``, by itself.
        by: The user id of who has asked for it over the control socket; None: the app itself.
        seconds: For how long it is held; None: until it is released.
    """

    at: float
    path: str
    what: Held
    by: int | None
    seconds: float | None

    def concerns(self, path: str) -> bool:
        """Whether the service at *path* is held by it, or was."""
        return path == self.path or path.startswith(f"{self.path}/")


class Holds:
    """All that is held in one tree."""

    __slots__ = ("by_path", "timers")

    def __init__(self) -> None:
        self.by_path: dict[str, Hold] = {}
        self.timers: dict[str, Timer] = {}
        """Of those that end by themselves."""

    def drop(self, path: str) -> Hold | None:
        """Hold *path* no more; return what has held it."""
        timer = self.timers.pop(path, None)
        if timer is not None:
            timer.close()
        return self.by_path.pop(path, None)
