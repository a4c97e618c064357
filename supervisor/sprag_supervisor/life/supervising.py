"""Supervision: what happens when a child has ended.

A child's end is posted to its parent's inbox and worked through by `attend`, in an
engine greenlet that exists only while there is something in it. Each item is taken
under the node's turn, checked for staleness, decided on by the pure functions of
`decide`, and carried out here. A restart that failed goes to the *end* of the
inbox, after a turn of the loop, so that a dead dependency cannot keep stops and
queries waiting.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final

from gevent import getcurrent, sleep

from sprag_supervisor.exceptions import (
    Escalated,
)
from sprag_supervisor.facts.failure import Failure, Spared, record
from sprag_supervisor.facts.memory import History, Ruling
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.bringing_up import restart
from sprag_supervisor.life.bugs import interrupt_main
from sprag_supervisor.life.giving_up import fail_for_good, give_up, root_of, too_often
from sprag_supervisor.life.needing import must_wait
from sprag_supervisor.life.net import engine_error
from sprag_supervisor.life.regrouping import goes_on, group_of, restart_group, stop_group
from sprag_supervisor.life.resting import cancel_retry, hold_back, leave_if_over
from sprag_supervisor.life.settling import attend_soon, post
from sprag_supervisor.life.stopping import end_soon
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.rules.backoff import PATIENT
from sprag_supervisor.rules.decide import CRASHED, RECYCLED, Reason, RestartWindow, ruling
from sprag_supervisor.rules.states import FAILED, FINISHED, RESTARTING, RUNNING, STARTING
from sprag_supervisor.tree.group import led_by, waits_with_others
from sprag_supervisor.tree.log import say, saying
from sprag_supervisor.tree.names import name_of, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sprag_supervisor.rules.backoff import Backoff
    from sprag_supervisor.rules.decide import Decision
    from sprag_supervisor.rules.policy import Policy
    from sprag_supervisor.tree.node import Item, Node, Supervision

_LAST: Final = ("give_up", "gave_up_tries")
_AGAIN: Final = 1.0
_random = random.Random()  # noqa: S311 - jitter, not secrets


def attend(node: Node) -> None:
    """Work through the inbox of *node*, in an engine greenlet, until it is empty."""
    supervision = node._supervision_
    if supervision is None:
        return
    began, pace, is_first = clock.now(), None, True
    try:
        while supervision.inbox and node._state_ is RUNNING:
            item = supervision.inbox.popleft()
            try:
                if item[-1]:
                    sleep(0)  # stops and queries get their turn before it is tried again
                if is_first:  # one alone, as it mostly is, is not worth a look at the time
                    is_first = False
                else:
                    pace = pace or Pace(began=began)
                    pace()  # timers, too: that alone would keep them waiting
                _attend_to(node, supervision, item)
            except BaseException as error:  # noqa: BLE001 - a bug of sprag, or main's Ctrl-C
                if is_a(error, KeyboardInterrupt) and _is_undecided(node, item):
                    supervision.inbox.appendleft(item)
                    interrupt_main(error)
                else:
                    engine_error(node, "supervise", error)
            del item
    finally:
        supervision.attended = False
        if supervision.inbox and node._state_ is RUNNING and node._supervision_ is supervision:
            attend_soon(node)


def _attend_to(node: Node, supervision: Supervision, item: Item) -> None:
    """Decide on *item* and carry that out, under the turn, if it is not of the past."""
    turn, current = supervision.turn, getcurrent()
    child, incarnation, reason, failure, came = item
    try:
        try:
            if turn.holder is None:
                turn.holder = current
            elif not turn.take():  # pragma: no cover - nobody waits for this greenlet
                raise AssertionError(path_of(node))
            if (
                node._supervision_ is not supervision
                or node._state_ is not RUNNING
                # Of a life that somebody has started anew meanwhile: its escalation ends nobody.
                or child._incarnation_ != incarnation
            ):
                pass
            elif child._state_ is RESTARTING:
                if child._parent_ is not node or (supervision.groups and waits_with_others(child)):
                    pass  # its exit counts with its group (otp-rules 14)
                elif (
                    reason is CRASHED
                    and came is False
                    and type(failure) is Failure
                    and failure.action is None
                    and child._policy_.comes_back
                    and node._policy_.strategy == "one_for_one"
                ):
                    _restart_at_once(node, supervision, child, failure)
                else:
                    _act_on_waiting(node, supervision, child, reason, failure, came)
            elif reason is not None:
                _act_on_ended(node, supervision, child, reason, failure)
        finally:
            if turn.queue:
                turn.give()
            elif turn.holder is current:
                turn.holder = None
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def _restart_at_once(node: Node, supervision: Supervision, child: Node, failure: Failure) -> None:
    """Restart a child of which `ruling` asks for nothing but the count, as of nearly every one."""
    policy, window = node._policy_, supervision.window
    if window is None:
        window = supervision.window = RestartWindow()
    restarts = window.add(clock.now(), policy.max_seconds)
    if restarts > policy.max_restarts:
        _act_on_waiting(node, supervision, child, CRASHED, failure, False, restarts)
        return
    _write_down(node, supervision, child, CRASHED, failure, "restart", (child,))
    if not (child._policy_.needs and must_wait(child)):
        restart(child)


def _is_undecided(node: Node, item: Item) -> bool:
    """Whether what *item* tells still waits for its parent's decision."""
    child, incarnation, *_rest = item
    return (
        child._parent_ is node
        and child._incarnation_ == incarnation
        and child._state_ is RESTARTING
        and (child._history_ is None or child._history_.retry_timer is None)
    )


def _act_on_waiting(  # noqa: C901, PLR0912, PLR0917 - a branch for each word
    node: Node,
    supervision: Supervision,
    child: Node,
    reason: Reason | None,
    failure: Failure | None,
    came: bool | float,  # noqa: FBT001
    restarts: int = 0,
) -> None:
    """Restart a child with its group, now or later, or give up.

    If its restart has been counted already, there were so many *restarts*.
    """
    if reason is None:
        _has_waited(node, supervision, child)
        return
    policy, rules, history = node._policy_, child._policy_, child._history_
    action, backoff = None if failure is None else failure.action, rules.backoff
    if action is not None:
        backoff = rules.backoff_after(action)
    tried, is_first = 0, False
    if history is not None:
        if history.retry_timer is not None:
            return  # it was told twice
        tried = history.in_a_row
        is_first = history.first_start and reason is Reason.START_FAILED
    counts = not is_first and type(failure) is not Spared and reason is not RECYCLED
    if counts and not restarts and (backoff is None or not backoff.is_over(tried)):
        restarts = _count(supervision, policy, came)
    decision = ruling(rules, reason, action, policy, restarts, (), tried, is_first)
    if decision in _LAST:
        if node._outlives_limit_:
            decision = "gave_up_tries"
        _write_down(node, supervision, child, reason, failure, decision)
        if decision == "gave_up_tries":
            fail_for_good(node, child, max(tried, restarts - 1))
            node._has_lost_(child, failure)
        else:
            cancel_retry(child)
            give_up(node, too_often(node, child, restarts, failure), failure)
        return
    group: Sequence[Node] = (child,)
    has_group = policy.strategy != "one_for_one" and not is_first
    if has_group:
        group = group_of(node, supervision, child)
    if decision == "back_off":
        if has_group:
            stop_group(node, supervision, group, child, waits=True)
        if child._state_ is RESTARTING and goes_on(node, supervision):  # else it was stopped
            seconds = _back_off(node, child, backoff or PATIENT)
            args = (node, supervision, child, reason, failure, decision, group, seconds)
            _write_down(*args, counts=counts)
            say(logging.INFO, child, "service waits before its restart", seconds=round(seconds, 3))
        return
    _write_down(node, supervision, child, reason, failure, decision, group, counts=counts)
    if policy.strategy == "one_for_one":
        _restart_when_it_can(child)
    else:
        restart_group(node, supervision, group, child)


def _has_waited(node: Node, supervision: Supervision, child: Node) -> None:
    """Start a child that has waited long enough, with its group if that has waited for it."""
    hold_back(child)
    if led_by(supervision, child) is None:
        _restart_when_it_can(child)
    else:
        restart_group(node, supervision, group_of(node, supervision, child), child)


def _restart_when_it_can(child: Node) -> None:
    """Start a child again, once it has what it needs: waiting for that counts nothing."""
    if not (child._policy_.needs and must_wait(child)):
        restart(child)


def _count(supervision: Supervision, policy: Policy, came: bool | float) -> int:  # noqa: FBT001
    """Count one more restart; return how many count with it."""
    window = supervision.window
    if window is None:
        window = supervision.window = RestartWindow()
    if came is False or came is True:
        return window.add(clock.now(), policy.max_seconds)
    return window.add_late(came, policy.max_seconds)  # something is held: it may have waited


def _act_on_ended(
    node: Node, supervision: Supervision, child: Node, reason: Reason, failure: Failure | None
) -> None:
    """Act on the end of a child that does not come back; of one that was started again, not."""
    others: Iterable[bool] = ()
    if child._policy_.significant:
        if child._state_ is RUNNING:
            return
        others = _others_active(node, supervision, child)
    action = None if failure is None else failure.action
    decision = ruling(child._policy_, reason, action, node._policy_, others_active=others)
    if decision == "shut_down":
        _write_down(node, supervision, child, reason, failure, decision)
        leave_if_over(node, child)  # first: while it is there, it would keep up what it needs
        _end_by_itself(node)
        return
    leave_if_over(node, child)
    if failure is None:
        return
    if decision == "escalate":
        _write_down(node, supervision, child, reason, failure, decision)
        give_up(node, Escalated(path_of(node), name_of(child), root_of(failure)), failure)
    elif child._state_ in (FAILED, FINISHED) and decision != "exit":  # which has been written down
        _write_down(node, supervision, child, reason, failure, "keep")


def _write_down(  # noqa: PLR0917 - an item, taken apart
    node: Node,
    supervision: Supervision,
    child: Node,
    reason: Reason,
    failure: Failure | None,
    decision: Decision,
    group: Sequence[Node] = (),
    delay: float = 0.0,
    *,
    counts: bool = True,
) -> None:
    """Enter a decision into the ledger of causes, with the *group* that is restarted."""
    tree, window, path = node._tree_, supervision.window, supervision.path
    assert tree is not None
    assert path is not None  # from its first child on
    name = child._name_ or name_of(child)
    names: tuple[str, ...] = (name,)
    if len(group) != 1:
        names = tuple([name_of(one) for one in group])
        if names == supervision.names:
            names = supervision.names  # a group is restarted again and again: its list is kept once
        else:
            supervision.names = names
    tree.ledger.enter(
        record(
            Ruling,
            (
                clock.wall(),
                path,
                name,
                child._incarnation_,
                reason,
                failure,
                decision,
                names,
                node._policy_,
                window.count if window is not None and counts else 0,
                delay,
                len(names),
            ),
        )
    )


def _others_active(node: Node, supervision: Supervision, child: Node) -> Iterator[bool]:
    """Yield for each other significant child whether it still counts (otp-rules 63-66).

    One that waits with its group does not: it was stopped, and nobody has tried to start it yet.
    """
    unheard = {id(one) for one, _, reason, *_rest in supervision.inbox if reason is not None}
    for each in (node._children_ or {}).values():
        if each is not child and each._policy_.significant and not waits_with_others(each):
            yield id(each) in unheard or _has_not_ended(each)


def _has_not_ended(node: Node) -> bool:
    """Whether a significant child still counts; one that is being stopped does not."""
    operation = node._op_
    if operation is not None and not operation.is_start:
        return not operation.on_purpose  # it may be restarted, or ends the supervisor itself
    return node._state_ in (RUNNING, STARTING, RESTARTING)


def _end_by_itself(node: Node) -> None:
    tell = saying(logging.INFO, node, "supervisor shuts down: significant children have ended")
    end_soon(node, Reason.SHUTDOWN)
    tell()


def _back_off(node: Node, child: Node, backoff: Backoff) -> float:
    """Let the child wait, with its group if it has one; return the seconds. Holds up nobody."""
    history = child._history_
    if history is None:
        history = child._history_ = History()
    history.in_a_row += 1
    seconds = backoff.delay(history.in_a_row, _random)
    has_waited = (child, child._incarnation_, None, None, False)

    def over() -> None:
        post(node, has_waited)
        hold_back(child)

    hold_back(child)  # a timer that nobody holds any more would come again and again
    history.next_try = clock.now() + seconds
    # Should a signal handler cut `over` short in the hub, it comes again.
    history.retry_timer = timer = clock.new_timer(seconds, _AGAIN)
    timer.start(over, update=True)
    return seconds
