"""What the host says: in the log, or on stderr to who has no logs; and what the words are."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import suppress
from itertools import islice
from typing import Final

from sprag.owned.log import record
from sprag.process.log_queue import write_as_log
from sprag.process.worker import worker
from sprag_supervisor import DOWN, Node, configured, listening, path_of, plain, still_drain

_LISTED: Final = 8
_NOTHING: Final = (None, "")


def tell(level: int, event: str, *, why: str | None = None, **fields: object) -> None:
    """Log *event*; to a user who has no logs of this level, say what he must know.

    For workers their parent says it, once.
    """
    if configured(level):
        log(level, event, **fields)
    elif level >= logging.ERROR or listening(level) or (on_terminal() and worker() is None):
        details = [f"{name}={value}" for name, value in fields.items() if value not in _NOTHING]
        with suppress(OSError, ValueError, AttributeError):
            write_as_log(f"{why or ''}{' '.join(['sprag:', event, *map(plain, details)])}\n")


def log(level: int, event: str, **fields: object) -> None:
    """Log *event* with those of *fields* that say something."""
    record(level, event, **{key: value for key, value in fields.items() if value not in _NOTHING})


def awaited(root: Node) -> str:
    """Name the services that others wait for: who drains, else who is up with nothing up below."""
    found = [path_of(each) for each in islice(still_drain(root), _LISTED + 1)]
    if found:
        return ", ".join(found[:_LISTED]) + (" and more" if len(found) > _LISTED else "")
    stack: list[Node] = [root]
    more = 0
    while stack:
        node = stack.pop()
        up = [each for each in (node._children_ or {}).values() if each._state_ not in DOWN]
        stack.extend(up)
        if not up and node._state_ not in DOWN:
            if len(found) < _LISTED:
                found.append(path_of(node))
            else:
                more += 1
    return ", ".join(found) + (f" and {more} more" if more else "")


def still_up(root: Node) -> str:
    """Say what is up, in a few words. From any thread."""
    up: list[str] = []
    stack: list[Node] = [root]
    while stack and len(up) <= _LISTED:
        node = stack.pop()
        if node._state_ not in DOWN:
            up.append(f"{path_of(node)} ({node._state_.value})")
        stack.extend((node._children_ or {}).values())
    up[_LISTED:] = ["…"] if len(up) > _LISTED else []
    return f"still up: {', '.join(up)}" if up else "nothing is up any more"


def still_running() -> str:
    """Say what keeps the interpreter alive after the tree has ended. From any thread."""
    # threading.enumerate() takes a lock, which gevent may have patched.
    threads: dict[object, threading.Thread] = vars(threading)["_active"]
    names = [
        each.name
        for each in tuple(threads.values())
        if each is not threading.main_thread() and not each.daemon
    ]
    what = f"threads that are no daemons ({', '.join(names)})" if names else "something"
    return f"the app has ended, but {what} kept the process alive"


def how_to_force(number: int) -> str:
    """Say what ends the process at once, after the signal of this number."""
    if number == signal.SIGHUP:  # which never forces anything
        return "SIGTERM to end at once"
    key = "Ctrl-C" if number == signal.SIGINT and on_terminal() else signal.Signals(number).name
    return f"{key} again to end at once"


def on_terminal() -> bool:
    """Whether somebody looks at stderr."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, or never there
        return False
