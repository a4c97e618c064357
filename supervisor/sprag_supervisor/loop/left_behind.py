"""Greenlets that nobody could end: they go on beside the next life of their service.

They are fenced: whoever acquires something asks `is_left_behind`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gevent import getcurrent

from sprag_supervisor.loop.greenlets import is_dead

if TYPE_CHECKING:
    from greenlet import greenlet

left_behind: Final[dict[int, greenlet]] = {}
"""Greenlets of earlier lives that swallowed their kill, by id."""


def leave_behind(straggler: greenlet) -> None:
    """Remember that *straggler* is nobody's any more: it acquires nothing for the next life."""
    for one in [one for one in left_behind.values() if is_dead(one)]:
        del left_behind[id(one)]
    left_behind[id(straggler)] = straggler


def is_left_behind() -> bool:
    """Whether the calling greenlet is a straggler."""
    return bool(left_behind) and id(getcurrent()) in left_behind
