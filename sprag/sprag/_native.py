"""Threads of the system's, and what they need: as they are without gevent's patches.

What must go on while the loop is held cannot be a greenlet: who watches the loop, ends the process
in time, or writes its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gevent import monkey

from sprag.exceptions import NoThread

if TYPE_CHECKING:
    from collections.abc import Callable

_start_new_thread: Final = monkey.get_original("_thread", "start_new_thread")
make_lock: Final = monkey.get_original("_thread", "allocate_lock")
this_thread: Final = monkey.get_original("_thread", "get_ident")
sleep_thread: Final = monkey.get_original("time", "sleep")


def start_thread(body: Callable[..., object], *given: object) -> None:
    """Run *body* with what is *given* in a thread of its own.

    Raises:
        NoThread: The user, or the container, has as many as may be; or Python 3.12 ends.
    """
    try:
        _start_new_thread(body, given)
    except RuntimeError as error:
        raise NoThread(str(error)) from None
