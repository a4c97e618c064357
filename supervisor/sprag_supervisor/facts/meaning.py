"""What an exception comes to: a crash, a kill, the end of the program; and whose it is."""

from __future__ import annotations

from typing import Final

from gevent import GreenletExit

from sprag_supervisor.foreign import is_a, traceback_of
from sprag_supervisor.loop.pool import Pool
from sprag_supervisor.rules.groups import leaves_of

_SWITCHES: Final = ("gevent._gevent_c_greenlet_primitives", "gevent._greenlet_primitives")


def meaning_of(error: BaseException) -> BaseException:
    """Return what *error* comes to: a group means the KeyboardInterrupt or SystemExit in it.

    A group of nothing but kills is a kill. Any other exception means itself.
    """
    kind = type(error)
    if issubclass(kind, Exception) or not issubclass(kind, BaseExceptionGroup):
        return error
    leaves = list(leaves_of(error))
    for special in (KeyboardInterrupt, SystemExit):
        for leaf in leaves:
            if is_a(leaf, special):
                return leaf
    if all(is_a(leaf, GreenletExit) for leaf in leaves):
        return leaves[0]
    return error


def was_thrown_in(error: BaseException) -> bool:
    """Whether *error* was thrown into a greenlet that waited, and not raised by what it ran.

    A kill and a Timeout do so. The innermost frame is then the one that had switched away.
    """
    inner = traceback_of(error)
    if inner is None:
        return False
    while (deeper := inner.tb_next) is not None:
        inner = deeper
    frame = inner.tb_frame
    module = frame.f_globals.get("__name__")
    if module in _SWITCHES:
        return frame.f_code.co_name.endswith("switch")  # gevent's own, compiled or not
    return frame.f_code is Pool.enter_and_wait.__code__ and not is_a(error, RecursionError)
