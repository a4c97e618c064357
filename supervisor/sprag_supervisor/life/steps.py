"""The steps of one service's own end, each bounded: a hook, a clean-up, its activities.

Each hook and clean-up runs in a pooled greenlet, which can be killed or left behind without
loss. All of them share the service's ``shutdown`` seconds, `Ending.own_left`.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet, GreenletExit, sleep

from sprag_supervisor.facts.meaning import meaning_of
from sprag_supervisor.facts.report import Outcome
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.bugs import interrupt_main
from sprag_supervisor.life.stopping import request_exit
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.calls import Call
from sprag_supervisor.loop.greenlets import is_dead
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.tree.callables import check_result
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.living import let_hear
from sprag_supervisor.tree.node import Node
from sprag_supervisor.tree.seat import context_of, kept_context
from sprag_supervisor.tree.stragglers import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sprag_supervisor.life.ending import Ending
    from sprag_supervisor.loop.calls import Work
    from sprag_supervisor.tree.holdings import Subscription

KILL_GRACE: Final = 0.1
"""Seconds that something killed at a deadline gets to die before it is left behind."""
_LATE: Final = 0.5
"""Past a deadline by this many seconds, nothing gets a grace any more."""


def call_hook(node: Node, name: str) -> object:
    """Call a hook of a user's class, which may raise even when it is looked up."""
    return getattr(node, name)()


def perform(ending: Ending, step: str, fn: Callable[[], object]) -> None:
    """Run a hook or clean-up in a pooled greenlet, killing it at the limit."""
    node = ending.node
    assert node._tree_ is not None
    call = Call(lambda: _inside(node, step, fn))
    context = ending._context
    if context is None:
        context = ending._context = kept_context(node)
    call.context = context
    began = clock.now()
    limit = ending.limit(began)
    ending.call = step, fn, call, began
    # Without a limit there is no timer; beyond it, the body runs until it first blocks.
    node._tree_.pool.enter_and_wait(call, ending.parking, _timed(limit))
    see_through(ending, step, call, began)


def take_up_call(
    ending: Ending, step: str, fn: Callable[[], object], call: Call, began: float
) -> None:
    """Go on with what was under way when a bug of sprag's came in between."""
    call.revoke()
    if call.is_revoked:
        perform(ending, step, fn)
    else:
        see_through(ending, step, call, began)


def see_through(ending: Ending, step: str, call: Call, began: float) -> None:
    """Wait for a call that is under way, and kill it at the limit."""
    while not call.done and not call.is_abandoned:
        limit = ending.limit(began)
        if call.has_begun and clock.now() >= limit:
            break
        call.wait(_timed(limit))
    if not call.done:
        call.kill()
        _grace(ending, lambda: call.done)
        if call.done:
            ending.note(Outcome.KILLED, step, "killed at the deadline")
        else:
            ending.leave_behind(step, call.abandon())
            if ending._context is not None:  # it still runs in that
                ending._context = context_of(ending.node, ending._context.copy())
    if call.error is not None:
        _step_raised(ending, step, call)
    ending.spend(began)
    ending.call = None


def _inside(node: Node, step: str, fn: Callable[[], object]) -> None:  # noqa: ARG001 - see below
    """Run *fn* as the service's code; in a frame that knows the service, for the watchdog."""
    result = fn()
    if result is not None:
        check_result(step, result)


def _step_raised(ending: Ending, step: str, call: Call) -> None:
    error = call.error
    meant = None if error is None else meaning_of(error)
    if is_a(meant, KeyboardInterrupt):
        interrupt_main(meant)
    elif is_a(meant, SystemExit):
        request_exit(ending.node, meant)
    elif error is not None and not is_a(meant, GreenletExit):
        let_hear(ending.node, step, error)
        ending.stop_error(step, error)


def see_to_work(ending: Ending) -> None:
    """Have a service take no new work, and wait for what others wait for."""
    node = ending.node
    if type(node).on_drain is not Node.on_drain:
        perform(ending, "on_drain", partial(call_hook, node, "on_drain"))
    held = node._holdings_
    if type(held) is Holdings and held.calls:
        _finish_work(ending, held)


def _finish_work(ending: Ending, holdings: Holdings) -> None:
    """Wait until what others wait for is done, as long as the service has time."""
    began = clock.now()
    for call in tuple(holdings.calls or ()):
        if call.is_work:
            cast("Work", call).drain()
    holdings.awaited_by = ending.parking
    while any(_work_left(holdings)) and clock.now() < (limit := ending.limit(began)):
        ending.parking.park(_timed(limit))
    ending.spend(began)


def _work_left(holdings: Holdings) -> Iterator[Work]:
    for call in tuple(holdings.calls or ()):
        if call.is_work and not call.done:
            yield cast("Work", call)


def _count_undone(ending: Ending, holdings: Holdings) -> None:
    """Take note of the work that is killed now."""
    left: Counter[str] = Counter()
    for work in _work_left(holdings):
        left[work.step] += work.undone()
    for step, number in left.items():
        if number:
            ending.dropped += number
            said = f"{number} {step}{'' if number == 1 else 's'} left undone"
            ending.note(Outcome.KILLED, "drain", said)


def release(ending: Ending, holdings: Holdings) -> None:
    """Cancel, kill, join and clean up what the service holds."""
    busy = [each for each in holdings.subscriptions or () if each.running]
    holdings.release()
    if holdings.greenlets or holdings.calls or busy:
        _end_activities(ending, holdings, busy)
    pace = Pace()
    while holdings.cleanups:
        pace()
        fn, args, kwargs = holdings.cleanups.pop()
        perform(ending, "clean-up", lambda fn=fn, a=args, k=kwargs: fn(*a, **k))  # type: ignore[misc]
    if holdings.greenlets:  # bare ones that a clean-up has started and not waited for
        _end_activities(ending, holdings, ())


def _end_activities(ending: Ending, holdings: Holdings, busy: Sequence[Subscription]) -> None:
    began = clock.now()
    if holdings.calls:
        _count_undone(ending, holdings)
    for each in busy:
        each.awaited_by = ending.parking
    holdings.awaited_by = ending.parking

    def over() -> bool:
        return not (
            (holdings.greenlets and not all(is_dead(one) for one in holdings.greenlets.values()))
            or (holdings.calls and any(not call.done for call in holdings.calls))
            or any(each.running for each in busy)
        )

    _kill_all(holdings)
    while not over() and clock.now() < (limit := ending.limit(began)):
        ending.parking.park(_timed(limit))
    _turns(ending, over)
    if not over():
        _kill_all(holdings)
        _until_delivered()
        _grace(ending, over)
        killed = over()
        for each_greenlet in tuple((holdings.greenlets or {}).values()):
            ending.leave_behind("greenlet", each_greenlet)
            holdings.drop_greenlet(each_greenlet)
        for call in tuple(holdings.calls or ()):
            if not call.done:
                ending.leave_behind(call.step, call.abandon())
            holdings.drop_call(call)
        ending._tell_of_unnamed()
        for each in busy:
            if each.running:
                keep(ending.node, "listener", lambda one=each: not one.running)  # type: ignore[misc]
                ending.straggler("listener", each.describe())
        if killed:
            ending.note(Outcome.KILLED, "greenlet", "killed again at the deadline")
    ending.spend(began)


def _until_delivered() -> None:
    """Wait until the loop has delivered the kills asked for so far; thousands take a while.

    Else those whose turn has not come yet would be taken for stragglers.
    """
    sleep(0)


def _grace(ending: Ending, over: Callable[[], bool]) -> None:
    """Give what was just killed a moment to die."""
    now = clock.now()
    until = max(now, min(now + KILL_GRACE, ending.deadline + _LATE))
    _turns(ending, over)
    while not over() and clock.now() < until:
        ending.parking.park(until)


def _turns(ending: Ending, over: Callable[[], bool]) -> None:
    """Let a kill arrive, which takes a turn of the loop, and its news, which takes another."""
    for _ in range(3):
        if not over():
            ending.parking.park(clock.now())


def _timed(limit: float) -> float | None:
    return None if limit == math.inf else limit


# As gevent does to a Pool's, past a user's own `kill`.
_kill: Final = cast("Any", Greenlet).kill
_is_ready: Final = cast("Any", Greenlet).ready


def _kill_all(holdings: Holdings) -> None:
    for greenlet in tuple((holdings.greenlets or {}).values()):
        _kill(greenlet, block=False)
        if _is_ready(greenlet):  # had not begun to run, so nothing will ever drop it
            holdings.drop_greenlet(greenlet)
    for call in tuple(holdings.calls or ()):
        call.kill()
