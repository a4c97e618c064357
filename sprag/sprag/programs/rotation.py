"""SIGUSR2: the files that programs' output is copied to were moved away, open them anew."""

from __future__ import annotations

import signal
from typing import Any

from gevent import Greenlet, get_hub

from sprag.process.hosting import at_the_end, owns_process
from sprag.programs.raw_copy import reopen_files

_watchers: list[Any] = []  # one, as soon as there is such a file


def listen_for_rotation() -> None:
    """From now on reopen the files at each SIGUSR2, where sprag owns the process.

    Who has a handler of its own for that signal keeps it.
    """
    if _watchers or not owns_process() or signal.getsignal(signal.SIGUSR2) is not signal.SIG_DFL:
        return
    watcher: Any = get_hub().loop.signal(signal.SIGUSR2, ref=False)
    watcher.start(_rotated)
    _watchers.append(watcher)
    at_the_end(_forget)


def _rotated() -> None:
    # In the hub: files are not opened there.
    Greenlet.spawn(reopen_files)


def _forget() -> None:
    for watcher in _watchers:
        watcher.stop()
        watcher.close()
    _watchers.clear()
