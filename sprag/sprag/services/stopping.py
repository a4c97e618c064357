"""The end of a service as its users ask for it, and wait for it."""

from __future__ import annotations

import math
from typing import Any

from gevent import get_hub, getcurrent

from sprag.owned.bus import runs_within
from sprag_supervisor import (
    Ending,
    Exit,
    History,
    Node,
    Parking,
    Reason,
    Seconds,
    State,
    StopReport,
    clock,
    end_cleanly,
    end_in_next_turn,
    may_acquire,
    must_be_able_to_wait,
    must_be_at_home,
    need_room,
    not_active,
    request_stop,
    seconds_of,
    settled,
    waits_for_caller,
)


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
    deadline = math.inf if within is None else clock.now() + within
    # In the hub, where Python runs signal handlers, nothing can be waited for.
    if runs_within(node) or getcurrent() is get_hub():
        end_in_next_turn(node, tree, request_stop, deadline)
        return StopReport(is_pending=True)
    ran = node._state_ is State.RUNNING
    operation = request_stop(node, deadline)
    if operation is None:
        return StopReport(clean=1) if ran else StopReport()
    parking = Parking()
    report = StopReport()
    incarnation = node._incarnation_
    while operation is not None and node._incarnation_ == incarnation:
        if operation.joiners is not None and waits_for_caller(operation.joiners):
            return StopReport(is_pending=True)
        operation.join(parking)
        if isinstance(operation, Ending):
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
        end_in_next_turn(node, tree, end_cleanly, incarnation)
    else:
        end_cleanly(node, incarnation)


def wait(node: Node, timeout: Seconds | None) -> Exit | None:
    """Carry out `Service.wait`."""
    within = _limit(timeout)
    if node._state_ is State.NEW:
        raise not_active(node, "wait for its end")
    must_be_at_home(node)
    if within != 0 and not settled(node):
        must_be_able_to_wait(node, "wait for its end")
    until = None if within is None else clock.now() + within
    history = node._history_
    if history is None:
        history = node._history_ = History()
    if history.waiters is None:
        history.waiters = []
    waiters, parking = history.waiters, Parking()
    waiters.append(parking)
    try:
        while not settled(node) and (until is None or clock.now() < until):
            parking.park(until)
    finally:
        waiters.remove(parking)
    if not settled(node):
        return None
    if history.exit is None:
        finished = node._state_ is State.FINISHED
        reason = Reason.FINISHED if finished else Reason.STOPPED
        history.exit = Exit(reason, node._incarnation_)
    return history.exit


def _limit(timeout: Any) -> float | None:
    """Return the seconds that a call may take, given as a number, a timedelta or None."""
    if timeout is None:
        return None
    return seconds_of("timeout", timeout, 0.0, endless=True, also=", or None")
