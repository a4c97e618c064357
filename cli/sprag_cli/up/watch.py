"""``sprag up --watch``: look whether the file is saved, and have it read again then.

Editors write a file in pieces, or put another in its place. So it is acted on when two looks, half
a second apart, have found the same, and nothing has changed while it was read. What is wrong is
told, once, and nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import gevent

from sprag_supervisor import RUNNING

if TYPE_CHECKING:
    import sprag
    from sprag_cli.up.source import Source

EVERY: Final = 0.5
"""Seconds between two looks."""


def watch(source: Source, app: sprag.Service) -> None:
    """Look at the files of *source* from now on, in a greenlet of its own, while *app* runs."""
    gevent.spawn(_watch, source, app)


def _watch(source: Source, app: sprag.Service) -> None:
    last = source.seen
    while app._state_ is RUNNING:
        gevent.sleep(EVERY)
        now = source.look()
        if now == last and now != source.seen:
            source.saved(now)
        last = now
