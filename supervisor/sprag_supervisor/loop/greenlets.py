"""How to look at a greenlet, whatever its class makes of its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greenlet import greenlet

from sprag_supervisor.foreign import is_a

if TYPE_CHECKING:
    from types import FrameType

_is_dead: Final[Any] = greenlet.__dict__["dead"].__get__
_frame_of: Final[Any] = greenlet.__dict__["gr_frame"].__get__


def frame_of(one: Any) -> FrameType | None:
    """Return where a greenlet waits; None if it does not, or there is no greenlet."""
    frame: FrameType | None = _frame_of(one) if is_a(one, greenlet) else None
    return frame


def is_dead(one: greenlet) -> bool:
    """Whether a greenlet has ended."""
    ended: bool = _is_dead(one)
    return ended
