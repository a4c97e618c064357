"""Services that have to beat: from ready to drain, one that does not has crashed.

Lateness is not unresponsiveness. While the loop is held, the process stopped, or a debugger looks
at it, nobody can beat, and those who held nothing would be punished for it. A heartbeat looks four
times per period; where its own timer comes late, the period begins anew, and so it does while the
service is held (`sprag hold`). So it is between one
period and a quarter more after the last beat that a service is found unresponsive. Who held the
loop is the watchdog's business.
"""

from __future__ import annotations

import linecache
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.exceptions import Unresponsive
from sprag_supervisor.foreign import is_a, module_of
from sprag_supervisor.life.guard import Managed, await_turn, report_crash
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.greenlets import frame_of
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.held import is_held
from sprag_supervisor.tree.holdings import Holdings, holdings_of
from sprag_supervisor.tree.node import BEATS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from sprag_supervisor.tree.node import Node, Tree

_LOOKS: Final = 4
"""Per period."""
_LATE: Final = 0.5
"""A look that comes this part of the time between two of them too late tells nothing."""
_JUST: Final = 0.99
"""Of a period: no more is asked for, since timers and clocks go by different counts."""
_FRAMES: Final = 10
_STACKS: Final = 10
"""Different ones that are told."""


def expect_beats(node: Node) -> None:
    """Take note that *node* may have to beat in each of its lives, whatever its class says."""
    type.__setattr__(type(node), "_does_more_", BEATS)


def begin_to_listen(node: Node) -> None:
    """Expect *node*, which runs, to beat, if it has to and others may count on it."""
    seconds, held, tree = node._policy_.heartbeat, node._holdings_, node._tree_
    is_ready = type(held) is not Holdings or held.unready is None
    if seconds is None or tree is None or not is_ready:
        return
    former = tree.heartbeats.get(id(node))
    if former is None or former.incarnation != node._incarnation_:
        tree.heartbeats[id(node)] = Beats(node, tree, seconds)


def beat(node: Node) -> None:
    """Take note that *node* is alive."""
    tree = node._tree_
    heartbeat = None if tree is None else tree.heartbeats.get(id(node))
    if heartbeat is not None:
        heartbeat.beaten = clock.now()


class Beats:
    """The times within which one life of a service has to beat."""

    __slots__ = (
        "_holdings",
        "_looked",
        "_node",
        "_pause",
        "_seconds",
        "_timer",
        "_tree",
        "beaten",
        "incarnation",
    )

    def __init__(self, node: Node, tree: Tree, seconds: float) -> None:
        self._node = node
        self._tree = tree
        self.incarnation = node._incarnation_
        self._holdings = holdings = holdings_of(node)
        self._seconds = seconds
        self._pause = pause = seconds / _LOOKS
        self.beaten = self._looked = clock.now()
        self._timer: Any = clock.new_timer(pause, pause)
        if holdings.timers is None:
            holdings.timers = set()
        holdings.timers.add(self)
        self._timer.start(self._look, update=True)

    def release(self) -> None:
        """Expect no more beats. Harmless a second time."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
            if self._tree.heartbeats.get(id(self._node)) is self:
                del self._tree.heartbeats[id(self._node)]

    def _look(self) -> None:
        # In the hub.
        now = clock.now()
        late, self._looked = now - self._looked - self._pause, now
        if late > self._pause * _LATE or is_held(self._node):
            self.beaten = now
        elif self._is_overdue():
            self._tree.pool.launch(partial(self._is_over), self._node, "heartbeat")

    def _is_overdue(self) -> bool:
        node = self._node
        is_there = node._state_ is RUNNING and node._incarnation_ == self.incarnation
        is_late = self._looked - self.beaten >= self._seconds * _JUST
        return is_there and is_late and self._timer is not None

    def _is_over(self) -> None:
        await_turn(self._node)  # all that wait for the same thing hang at the same time
        if not self._is_overdue():
            return  # it has beaten in the last moment
        self.release()
        error = Unresponsive(self._seconds)
        for note in _told(self._holdings):
            error.add_note(note)
        report_crash(self._node, self.incarnation, "heartbeat", error)


def _told(holdings: Holdings) -> Iterator[str]:
    """Yield where the greenlets of a service are, those at one place together."""
    where: dict[tuple[str, str], int] = {}
    running = [
        (one.step if is_a(one, Managed) else "greenlet", frame_of(one))
        for one in (holdings.greenlets or {}).values()
    ]
    running += [(call.step, frame_of(call.worker)) for call in holdings.calls or ()]
    for step, frame in running:
        if frame is not None:
            place = step, "".join(reversed([*_lines(frame)]))
            where[place] = where.get(place, 0) + 1
    for (step, stack), number in list(where.items())[:_STACKS]:
        yield f"{step}{f' ({number} of them)' if number > 1 else ''} was at:\n{stack}".rstrip()
    if len(where) > _STACKS:
        yield f"and {len(where) - _STACKS} more places"
    if not where:
        yield "no greenlet of it was under way"


def _lines(innermost: FrameType) -> Iterator[str]:
    """Yield the lines of a stack but sprag's own, the innermost first."""
    frame: FrameType | None = innermost
    left = _FRAMES
    while frame is not None and left:
        if not module_of(frame).startswith(("sprag.", "sprag_supervisor.")):
            code, number = frame.f_code, frame.f_lineno
            source = linecache.getline(code.co_filename, number).strip()
            yield f'  File "{code.co_filename}", line {number}, in {code.co_name}\n    {source}\n'
            left -= 1
        frame = frame.f_back
