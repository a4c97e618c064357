"""Whether somebody looks at the exception that a greenlet ends with.

What looks is told by gevent's links, which stand in a list of the greenlet's own
(`links_of`), in the order in which they are notified:

- A function, an AsyncResult, anything that is told of a failure is a look. What hears of
  success only is none, and neither is gevent's own book-keeping: a Group that crosses a
  greenlet off its list, a thread-local that drops what it kept.
- A bare ``switch`` resumes a waiting greenlet: maybe in ``get()``, which raises the
  exception there, maybe in ``join()``, which hears nothing of it. That cannot be told
  before; afterwards the exception has another traceback, or still the one it had.
- Whoever iterates over ``gevent.iwait`` is handed the greenlet itself. It may be busy with
  an earlier one, in which case this one lies ready for it.

Everything here reads and touches nothing; it is needed when a greenlet has failed, and
only then.
"""

from __future__ import annotations

import dis
import enum
import gc
import sys
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Final, cast

import gevent.greenlet
import gevent.local
import gevent.pool
from gevent import _waiter as gevent_waiter
from gevent._imap import IMapUnordered
from gevent.hub import Hub
from greenlet import greenlet as raw_greenlet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from gevent import Greenlet

_Link = Any

# What gevent keeps to itself, or is missing in its type stubs.
_greenlet: Any = gevent.greenlet
_waiter: Any = gevent_waiter
_pool: Any = gevent.pool
_GreenletDeleted: Any = vars(gevent.local)["_greenlet_deleted"]


class Look(enum.Enum):
    """What a greenlet's links say."""

    SOMEBODY = enum.auto()
    PERHAPS = enum.auto()
    """Somebody is resumed; whether with the exception is seen when that has happened."""
    NOBODY = enum.auto()


def links_of(greenlet: Greenlet[..., Any]) -> list[_Link]:
    """Return gevent's own list of what is linked to *greenlet*, which has not begun yet.

    Compiled, gevent hides it; but for the collector, which skips greenlets that run.
    """
    found = _values(greenlet)
    links: list[_Link] = found or vars(greenlet).get("_links", found)  # gevent in pure Python
    return links


def look(greenlet: Greenlet[..., Any], links: Iterable[_Link]) -> Look:
    """Tell whether any of *links* looks at the exception of *greenlet*."""
    if issubclass(type(greenlet), IMapUnordered):
        return Look.SOMEBODY  # hands its own exception to whoever iterates
    found = Look.NOBODY
    for link in links:
        if _is_switch(link):
            if type(link.__self__) is _waiter.MultipleWaiter and _is_iterated(link.__self__):
                return Look.SOMEBODY
            found = Look.PERHAPS
        elif _is_group(link):
            if _joins_for_errors(greenlet, link.__self__):
                return Look.SOMEBODY
        elif not _is_bookkeeping(link):
            return Look.SOMEBODY
    return found


def iterators(links: Iterable[_Link]) -> list[_Link]:
    """Return those of *links* that belong to a ``wait`` or ``iwait`` which goes on.

    One that was left early leaves its links behind, but keeps nothing of what they lead to.
    """
    return [
        link
        for link in links
        if _is_switch(link)
        and type(link.__self__) is _waiter.MultipleWaiter
        and _count_of(link) > _count_of(_waiter.MultipleWaiter().switch)
    ]


def lies_ready(greenlet: Greenlet[..., Any], iterators: Iterable[_Link]) -> bool:
    """Whether one of *iterators* was told of *greenlet*, and has not handed it out so far."""
    return any(each is greenlet for link in iterators for each in _values(link.__self__))


def is_mapped(frame: FrameType | None) -> bool:
    """Whether a greenlet that is being spawned is for a Pool's ``map``, which collects all."""
    while frame is not None and frame.f_globals is _POOL_CODE:
        if frame.f_code is _MAP:
            return True
        frame = frame.f_back
    return False


_POOL_CODE: Final[Any] = vars(gevent.pool)
_MAP: Final = _pool.GroupMappingMixin._GroupMappingMixin__map.__code__


def _is_switch(link: _Link) -> bool:
    kind = cast("Any", type(link))
    if kind is BuiltinMethodType:
        return link.__name__ == "switch" and issubclass(type(link.__self__), raw_greenlet)
    return (
        kind is MethodType
        and issubclass(type(link.__self__), (raw_greenlet, _waiter.Waiter))
        and _name(link) == "switch"
    )


def _is_group(link: _Link) -> bool:
    return (
        type(link) is MethodType
        and issubclass(type(link.__self__), _pool.Group)
        and _name(link) == "_discard"
    )


def _is_bookkeeping(link: _Link) -> bool:
    kind = cast("Any", type(link))
    if (
        kind is _pool.pass_value
        or kind is _GreenletDeleted
        or issubclass(kind, _greenlet.SuccessSpawnedLink)
    ):
        return True
    if kind is _greenlet.SpawnedLink:
        return type(link.callback) is _pool.pass_value
    threads = sys.modules.get("gevent.threading")
    return threads is not None and link is vars(threads).get("_cleanup")


def _name(method: MethodType) -> str | None:
    try:
        name = getattr(method.__func__, "__name__", None)
    except BaseException:  # noqa: BLE001 - any callable of a user's may be there
        return None
    return name if type(name) is str else None


def _is_iterated(waiter: object) -> bool:
    """Whether what waits is ``for … in iwait(…)``, and not ``wait`` or ``joinall``."""
    for held in gc.get_referents(waiter):
        is_waiting = issubclass(type(held), raw_greenlet) and not issubclass(type(held), Hub)
        frame = held.gr_frame if is_waiting else None
        if frame is not None and frame.f_lasti >= 0:
            return bool(frame.f_code.co_code[frame.f_lasti] == _FOR_ITER)
    return False


_FOR_ITER: Final = dis.opmap["FOR_ITER"]


def _joins_for_errors(greenlet: Greenlet[..., Any], group: Any) -> bool:
    """Whether somebody is in ``group.join(raise_error=True)`` for *greenlet* among others."""
    for waiting in _values(group._empty_event):
        frame = waiting.__self__.gr_frame if _is_switch(waiting) else None
        if frame is not None and frame.f_code is _pool.Group.join.__code__:
            awaited = frame.f_locals.get("greenlets", ())
            if any(each is greenlet for each in awaited):
                return True
    return False


def _values(holder: object) -> list[Any]:
    """Return the list that one of gevent's compiled objects keeps."""
    found: Any = [held for held in gc.get_referents(holder) if type(held) is list]
    return found[0] if found else []


def _count_of(switch: _Link) -> int:
    return sys.getrefcount(switch.__self__)
