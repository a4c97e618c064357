"""The last resort for embedded trees: a program that ends without having stopped them.

When Python ends, what still runs on gevent is dropped where it stands: no `on_stop`, no clean-up,
no ``finally`` (gevent-traps 26). Functions registered with atexit do run, and gevent still works
in them. So the first tree that is started registers one, which stops what is left, in little
time and with a warning: whoever started a tree should stop it.
"""

from __future__ import annotations

import atexit
import logging
from typing import Final

from gevent import get_hub, getcurrent

from sprag_supervisor.life.stopping import request_stop
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.tree import home
from sprag_supervisor.tree.log import say

SECONDS: Final = 3.0
"""How long all the trees that are left may take together."""

_prepared: list[bool] = []


def prepare() -> None:
    """See to it that trees which run at the end of the program are stopped."""
    if not _prepared:
        _prepared.append(True)
        atexit.register(_stop_all)


def _stop_all() -> None:
    # Forked children have no trees (`forking`); those of other threads are out of reach.
    mine = [tree for tree in home.living if tree.thread == home.get_ident()]
    if not mine or getcurrent() is get_hub():
        return
    deadline = clock.now() + SECONDS
    for tree in mine:
        say(logging.WARNING, tree.root, "the program ends: stopping a tree that nobody stopped")
        operation = request_stop(tree.root, deadline)
        if operation is not None:
            operation.join(Parking(), deadline + 1.0)
