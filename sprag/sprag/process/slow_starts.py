"""Say which `on_start` does not return: "still starting", rarer and rarer, then with its stack.

A start may take as long as it likes, unless it has a ``start_timeout``; but whoever sits before an
app that does not come up wants to know whom it waits for. The tree knows what is starting; a
timer looks at that now and then, so a start pays nothing for it. Restarts, and what a service
adopts later, are looked at as well.
"""

from __future__ import annotations

import logging
import math
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sprag_supervisor import Starting, clock, say

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag_supervisor import Tree

FIRST: Final = 5.0
"""Seconds after which a start is worth a word."""
_RARER: Final = 3.0
"""How much longer each silence is than the one before."""
_WITH_STACK: Final = 3
"""Which word comes with the stack; and each one after it."""
_NAMED: Final = 8
"""Of more services than these that start at the same time nothing is said."""


class SlowStarts:
    """Watches the starts of *tree* while it is entered."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._seen: dict[Starting, _Wait] = {}
        self._timer: clock.Timer | None = None

    @contextmanager
    def told(self) -> Generator[None]:
        """Look now and then, in the hub."""
        self._look_in(FIRST)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.close()
                self._timer = None

    def _look_in(self, seconds: float) -> None:
        self._timer = clock.call_later(seconds, self._look, ref=False)

    def _look(self) -> None:
        assert self._timer is not None
        self._timer.close()
        now = clock.now()
        self._seen = {
            each: self._seen.get(each) or _Wait(each.began + FIRST)
            for each in self._tree.pool.under_way()
            if isinstance(each, Starting)
            and each.node._tree_ is self._tree
            and each.node._op_ is each
            and not each.adopts
            and each.aborted is None
        }
        due = [each for each, wait in self._seen.items() if now >= wait.next_at]
        for each in due:
            self._seen[each].put_off(now)
        if due:
            # Logging takes locks: not in the hub.
            self._tree.pool.launch(lambda: self._tell(due[:_NAMED]))
        soonest = min((wait.next_at for wait in self._seen.values()), default=math.inf)
        self._look_in(min(soonest - now, FIRST))

    def _tell(self, due: list[Starting]) -> None:
        for each in due:
            wait = self._seen.get(each)
            if wait is None or each.node._op_ is not each:
                continue  # it is up by now
            with_stack = wait.told >= _WITH_STACK
            fields = {"stack": _stack_of(each)} if with_stack else {}
            seconds = round(clock.now() - each.began, 1)
            say(logging.WARNING, each.node, "still starting", None, seconds=seconds, **fields)


class _Wait:
    __slots__ = ("next_at", "pause", "told")

    def __init__(self, next_at: float) -> None:
        self.next_at = next_at
        self.pause = FIRST
        self.told = 0

    def put_off(self, now: float) -> None:
        self.told += 1
        self.pause *= _RARER
        self.next_at = now + self.pause


def _stack_of(starting: Starting) -> str:
    worker = starting.worker
    frame = None if worker is None else worker.gr_frame
    return "no stack" if frame is None else "".join(traceback.format_stack(frame))
