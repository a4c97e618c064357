"""Who is told of each life of another service that ends: OTP's monitor, without a mailbox.

A watch lies among those who wait for the end of the other service, in that one's history. Nobody is
asked whether somebody watches: a service whose ends others wait for does not go the quick way.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag_supervisor import (
    DOWN,
    Call,
    Exit,
    History,
    Reason,
    State,
    check_result,
    get_ident,
    holdings_of,
    must_be_at_home,
    report_crash,
    say,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from sprag_supervisor import Holdings, Node

_WAITING: Final = 100
"""Ends that wait for their call; of more the oldest are missed."""


class Watch:
    """What a service has asked to be told of another one.

    Attributes:
        missed: Ends of which *fn* was not told, because 100 later ones were waiting for it.
    """

    __slots__ = (
        "_call",
        "_context",
        "_fn",
        "_holdings",
        "_incarnation",
        "_news",
        "_node",
        "_other",
        "_said",
        "_told",
        "missed",
    )

    def __init__(
        self, node: Node, other: Node, context: contextvars.Context, fn: Callable[[Exit], object]
    ) -> None:
        self._node = node
        self._incarnation = node._incarnation_
        self._other = other
        self._context = context
        self._fn = fn
        self._call: Call | None = None
        self._news: deque[Exit] = deque()
        self.missed = self._said = 0
        self._told = 0
        """The last life of the other one of whose end this has heard."""
        if other._history_ is None:
            other._history_ = History()
        if other._history_.waiters is None:
            other._history_.waiters = []
        self._holdings: Holdings | None = holdings_of(node)
        if self._holdings.timers is None:
            self._holdings.timers = set()
        self._holdings.timers.add(self)
        other._history_.waiters.append(self)
        self.poke()

    @property
    def active(self) -> bool:
        """Whether it may still be called."""
        return self._holdings is not None

    def cancel(self) -> None:
        """Never call again. A call that is under way goes on; harmless a second time."""
        must_be_at_home(self._node)
        self._let_go()

    def _let_go(self) -> None:
        holdings = self._holdings
        self.release()
        if holdings is not None:
            holdings.drop_timer(self)

    def release(self) -> None:
        """Do the same for the engine, which forgets it by itself."""
        self._holdings = None
        self._news.clear()
        history = self._other._history_
        waiters = None if history is None else history.waiters
        # The last ones first: of many that watch one service, those are stopped first.
        for place in range(len(waiters or ()) - 1, -1, -1):
            if waiters and waiters[place] is self:
                del waiters[place]  # in place: others who wait have the list in their hands
                break

    def poke(self) -> None:
        """Look whether a life of the other service has ended. Never blocks, calls nobody."""
        other, tree = self._other, self._node._tree_
        if self._holdings is None or tree is None or tree.thread != get_ident():
            return
        if other._state_ in DOWN and other._incarnation_ > self._told:
            self._told = other._incarnation_
            if len(self._news) == _WAITING:
                self._news.popleft()
                self.missed += 1
            self._news.append(_end_of(other))
        get_hub().loop.run_callback(self._fire)

    def _fire(self) -> None:
        # In the hub: hand over and return.
        tree = self._node._tree_
        if self._holdings is None or self._call is not None or tree is None:
            return
        if self._news:
            call = self._call = Call(self._tell)
            call.step = "watch"
            self._holdings.add_call(call)
            tree.pool.enter(call)
        elif self._told and self._other._tree_ is None:
            self._let_go()  # it was temporary, and nobody will start it again

    def _tell(self) -> None:
        call, holdings = self._call, self._holdings
        assert call is not None
        if holdings is None:
            return
        how = self._news.popleft()
        try:
            if self.missed > self._said:
                self._said = self.missed
                say(logging.WARNING, self._node, "a watch has missed ends", missed=self.missed)
            result: Any = self._context.copy().run(self._fn, how)
            if result is not None:
                check_result("a watch's function", result)
        except BaseException as error:  # noqa: BLE001 - this is where crashes are caught
            holdings.drop_call(call)
            report_crash(self._node, self._incarnation, "watch", error)
        else:
            holdings.drop_call(call)
        self._call = None
        get_hub().loop.run_callback(self._fire)


def _end_of(other: Node) -> Exit:
    """Return how the last life of *other*, which is down, has ended."""
    history = other._history_
    how = None if history is None else history.exit
    if how is not None and how.incarnation == other._incarnation_:
        return how
    # Ends that need no memory: the state it rests in says why.
    reason = Reason.FINISHED if other._state_ is State.FINISHED else Reason.STOPPED
    return Exit(reason, other._incarnation_)
