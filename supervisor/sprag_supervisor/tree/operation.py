"""What goes on in a node at a moment, as the rest of the engine sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_supervisor.loop.parking import Parking


class Operation(Protocol):
    """A start or an end in progress: `Starting`, `Ending`."""

    is_start: ClassVar[bool]
    """The service is on its way up."""
    deadline: float
    """Monotonic time at which it must be over; it only comes nearer."""
    on_purpose: bool
    """Somebody wants the service down."""
    parking: Parking
    """Where whoever carries it out waits."""

    @property
    def is_draining(self) -> bool:
        """Whether the service still works, and is about to end."""
        ...

    @property
    def joiners(self) -> list[Parking] | None:
        """Who waits for it to be over."""
        ...

    def join(self, parking: Parking, until: float | None = None) -> None:
        """Wait in *parking* until it is over or *until*."""

    def add_joiner(self, parking: Parking) -> None:
        """Have *parking* poked when it is over, and maybe before."""

    def call_off(self, deadline: float, why: str) -> None:
        """Let it end with the service down, by *deadline*."""

    def crashed(self, step: str, error: BaseException, level: int = ...) -> None:
        """Take note that something of the service has crashed meanwhile; log it at *level*."""

    def finished(self) -> None:
        """Take note that the service has said that it is done."""


class PendingOperation(Protocol):
    """An end that was asked for where nobody can wait: `PendingEnd`."""

    def add(self, end: Callable[[], object]) -> None:
        """Do *end*, too."""

    def join(self, parking: Parking) -> None:
        """Wait in *parking* until it has begun, or is over."""
