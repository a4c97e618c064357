"""The end of a service as its users ask for it, and wait for it."""

from __future__ import annotations

import math
from typing import Any, cast

from gevent import get_hub, getcurrent

from sprag._bus import runs_within
from sprag_supervisor import Exit, Node, Reason, State, StopReport, _clock, _ending, _guard
from sprag_supervisor._acquiring import may_acquire, not_active
from sprag_supervisor._belonging import must_be_able_to_wait, must_be_at_home
from sprag_supervisor._history import History
from sprag_supervisor._node import settled
from sprag_supervisor._parking import Parking
from sprag_supervisor._pending import end_in_next_turn
from sprag_supervisor._room import need_room
from sprag_supervisor._seconds import Seconds, in_seconds, is_number
from sprag_supervisor._waiting import waits_for_caller
from sprag_supervisor.exceptions import BadValue


def stop(node: Node, timeout: Seconds | None) -> StopReport:
    """Carry out `Service.stop`."""
    within = _limit(timeout)
    tree = node._tree_
    if tree is None:
        return StopReport()
    must_be_at_home(node)
    if not tree.thread:
        return StopReport()  # its root has not been started yet, or has ended
    need_room()
    deadline = math.inf if within is None else _clock.now() + within
    # In the hub, where Python runs signal handlers, nothing can be waited for.
    if runs_within(node) or getcurrent() is get_hub():
        end_in_next_turn(node, tree, _ending.stop, deadline)
        return StopReport(is_pending=True)
    ran = node._state_ is State.RUNNING
    operation = _ending.stop(node, deadline)
    if operation is None:
        return StopReport(clean=1) if ran else StopReport()
    parking = Parking()
    report = StopReport()
    incarnation = node._incarnation_
    while operation is not None and node._incarnation_ == incarnation:
        if operation.joiners is not None and waits_for_caller(operation.joiners):
            return StopReport(is_pending=True)
        operation.join(parking)
        if isinstance(operation, _ending.Ending):
            report = operation.report()
        operation = node._op_
    return report


def finish(node: Node) -> None:
    """Carry out `Service.finish`."""
    must_be_at_home(node)
    if not may_acquire(node):
        raise not_active(node, "finish")
    need_room()
    incarnation = node._incarnation_
    tree = node._tree_
    assert tree is not None
    if runs_within(node) or getcurrent() is tree.hub:
        end_in_next_turn(node, tree, _guard.finish, incarnation)
    else:
        _guard.finish(node, incarnation)


def wait(node: Node, timeout: Seconds | None) -> Exit | None:
    """Carry out `Service.wait`."""
    within = _limit(timeout, least=-math.inf)
    if node._state_ is State.NEW:
        raise not_active(node, "wait for its end")
    must_be_at_home(node)
    if within != 0 and not settled(node):
        must_be_able_to_wait(node, "wait for its end")
    until = None if within is None else _clock.now() + within
    history = node._history_
    if history is None:
        history = node._history_ = History()
    parking = Parking()
    history.waiters.append(parking)
    try:
        while not settled(node) and (until is None or _clock.now() < until):
            parking.park(until)
    finally:
        history.waiters.remove(parking)
    if not settled(node):
        return None
    if history.exit is None:
        finished = node._state_ is State.FINISHED
        reason = Reason.FINISHED if finished else Reason.STOPPED
        history.exit = Exit(reason, node._incarnation_)
    return history.exit


def _limit(timeout: Any, *, least: float = 0.0) -> float | None:
    """Return the seconds that a call may take, given as a number, a timedelta or None."""
    seconds = in_seconds(timeout)
    if seconds is not None and (not is_number(seconds) or not seconds >= least):
        raise BadValue("timeout", timeout, "seconds, 0 or more, or None")
    return cast("float | None", seconds)
