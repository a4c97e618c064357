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
from collections import deque
from typing import TYPE_CHECKING, Final

from gevent import sleep

from sprag_supervisor.exceptions import (
    Escalated,
    MaxRestartsExceeded,
    SpragError,
    StartFailed,
)
from sprag_supervisor.facts.failure import remember
from sprag_supervisor.facts.history import History
from sprag_supervisor.facts.ledger import Ruling
from sprag_supervisor.foreign import is_a
from sprag_supervisor.life.bugs import interrupt_main
from sprag_supervisor.life.ending import end_soon
from sprag_supervisor.life.net import engine_error
from sprag_supervisor.life.resting import cancel_retry, hold_back, leave_if_over
from sprag_supervisor.life.starting import start
from sprag_supervisor.loop import clock
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.rules.decide import Reason, RestartWindow, covered, shuts_down
from sprag_supervisor.rules.states import DOWN, FAILED, RESTARTING, RUNNING, STARTING
from sprag_supervisor.tree.group import dissolved, gather, led_by, waits_with_others
from sprag_supervisor.tree.inbox import attend_soon, post, supervision_of
from sprag_supervisor.tree.log import say, saying
from sprag_supervisor.tree.names import name_of, path_of
from sprag_supervisor.tree.node import BackoffOver, ChildExit, Node, Supervision

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.ledger import Decision
    from sprag_supervisor.tree.node import GroupRestart

_GIVING_UP: Final = (MaxRestartsExceeded.__name__, Escalated.__name__)
_AGAIN: Final = 1.0
_random = random.Random()  # noqa: S311 - jitter, not secrets


def attend(node: Node) -> None:
    """Work through the inbox of *node*, in an engine greenlet, until it is empty."""
    supervision = node._supervision_
    if supervision is None:
        return
    pace: Pace | None = None
    try:
        while supervision.inbox and node._state_ is RUNNING:
            item = supervision.inbox.popleft()
            try:
                if isinstance(item, ChildExit) and item.is_retry:
                    sleep(0)  # stops and queries get their turn before it is tried again
                if pace is None:
                    pace = (
                        Pace()
                    )  # one item alone, as it mostly is, is not worth a look at the time
                else:
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
        if node._state_ is RUNNING and node._supervision_ is supervision:
            attend_soon(node)


def _attend_to(node: Node, supervision: Supervision, item: ChildExit | BackoffOver) -> None:
    turn = supervision.turn
    try:
        try:
            if not turn.take():  # pragma: no cover - nobody waits for this greenlet
                raise AssertionError(path_of(node))
            _act_on(node, supervision, item)
        finally:
            turn.give()
    except BaseException:
        turn.give()  # again: a signal handler may have raised at the first one
        raise


def _is_undecided(node: Node, item: ChildExit | BackoffOver) -> bool:
    """Whether what *item* tells still waits for its parent's decision."""
    child = item.child
    return (
        child._parent_ is node
        and child._incarnation_ == item.incarnation
        and child._state_ is RESTARTING
        and not _waits_already(child)
    )


def _act_on(node: Node, supervision: Supervision, item: ChildExit | BackoffOver) -> None:
    child = item.child
    if node._supervision_ is not supervision or node._state_ is not RUNNING:
        return
    if isinstance(item, ChildExit) and _ends_supervisor(node, supervision, item):
        _write_down(node, item, "shut_down")
        _end_by_itself(node)
        return
    if child._incarnation_ != item.incarnation:
        return  # of a life that somebody has started anew meanwhile: its escalation ends nobody
    leave_if_over(node, child)
    if isinstance(item, ChildExit) and item.failure is not None and _is_escalated(item.failure):
        _write_down(node, item, "escalate")
        error = Escalated(path_of(node), name_of(child), _root_of(item.failure))
        _give_up(node, error, item.failure)
        return
    if isinstance(item, ChildExit) and item.failure is not None and child._state_ is FAILED:
        _write_down(node, item, "keep")
    if child._parent_ is not node or child._state_ is not RESTARTING or waits_with_others(child):
        # It was stopped, or started again by something else (otp-rules 42, 43), or its exit
        # counts with its group (otp-rules 14).
        return
    group = _group_of(node, supervision, child)
    if isinstance(item, BackoffOver):
        _wait_no_longer(child)
        _restart(node, supervision, group, child)
    elif not _waits_already(child):  # else it was told twice
        _decide(node, supervision, item, group)


def _decide(node: Node, supervision: Supervision, item: ChildExit, group: Sequence[Node]) -> None:
    """Restart a child with its group, now or later, or give up."""
    child = item.child
    if supervision.window is None:
        supervision.window = RestartWindow()
    policy = node._policy_
    if not supervision.window.add(clock.now(), policy.max_restarts, policy.max_seconds):
        cancel_retry(child)
        _write_down(node, item, "give_up")
        _give_up(node, _too_many(node, child, item.failure), item.failure)
    elif child._policy_.backoff is not None:
        if policy.strategy != "one_for_one":
            _stop_group(node, supervision, group, child, waits=True)
        _back_off(node, item, group)
    else:
        _write_down(node, item, "restart", group)
        _restart(node, supervision, group, child)


def _write_down(
    node: Node, item: ChildExit, decision: Decision, group: Sequence[Node] = (), delay: float = 0.0
) -> None:
    """Enter a decision into the ledger of causes."""
    tree, policy = node._tree_, node._policy_
    assert tree is not None
    supervision = supervision_of(node)
    window = supervision.window
    path = supervision.path
    if path is None:
        path = supervision.path = path_of(node)
    child = f"{path}/{name_of(item.child)}"
    names = tuple([name_of(one) for one in group])
    if names == supervision.names:
        names = supervision.names  # one group is restarted again and again: its list is kept once
    else:
        supervision.names = names
    tree.ledger.enter(
        Ruling(
            clock.wall(),
            path,
            child,
            item.incarnation,
            item.reason,
            item.failure,
            decision,
            names,
            policy.strategy,
            0 if window is None else len(window),
            policy.max_restarts,
            policy.max_seconds,
            delay,
            len(names),
        )
    )


def _ends_supervisor(node: Node, supervision: Supervision, item: ChildExit) -> bool:
    """Whether the end of a significant child ends the supervisor (otp-rules 63-66)."""
    child = item.child
    if not child._policy_.significant or child._incarnation_ != item.incarnation:
        return False
    if child._state_ in (RESTARTING, RUNNING):
        return False
    unheard = {id(each.child) for each in supervision.inbox if isinstance(each, ChildExit)}
    others = (
        id(each) in unheard or _has_not_ended(each)
        for each in (node._children_ or {}).values()
        if each is not child and each._policy_.significant
    )
    return shuts_down(node._policy_.auto_shutdown, item.reason, child._policy_.restart, others)


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


def _is_escalated(failure: Failure) -> bool:
    return failure.action == "escalate"


def _too_many(node: Node, child: Node, last: Failure | None) -> MaxRestartsExceeded:
    policy = node._policy_
    why = "it finished too often" if last is None else _root_of(last)
    if (backoff := child._policy_.backoff) is not None:
        waited = backoff.least(policy.max_restarts)
        why += (
            f"; its backoff had waited {waited:.1f} s in all: a longer initial, or a larger "
            f"max_restarts of {name_of(node)}, outlasts more"
        )
    return MaxRestartsExceeded(
        path_of(node), name_of(child), policy.max_restarts, policy.max_seconds, why
    )


def _root_of(failure: Failure) -> str:
    """Return what all began with, in a line, below the supervisors that gave up over it.

    Each naming the whole of the one below would double the text with every level.
    """
    while failure.cause is not None and failure.type in _GIVING_UP:
        failure = failure.cause
    return str(failure)


def _give_up(node: Node, error: SpragError, last: Failure | None) -> None:
    """End the supervisor as a failure, caused by its child's last one (otp-rules 21)."""
    tell = saying(logging.ERROR, node, "supervisor gave up", reason=str(error))
    failure = remember(
        error, node._incarnation_, cause=last, action=node._policy_.action_for(error)
    )
    end_soon(node, Reason.GAVE_UP, failure)
    tell()


def _back_off(node: Node, item: ChildExit, group: Sequence[Node]) -> None:
    """Let the child wait, unless it was stopped; its group is down, and nobody is held up."""
    child = item.child
    if child._state_ is not RESTARTING or node._state_ is not RUNNING:
        return
    backoff = child._policy_.backoff
    assert backoff is not None
    history = child._history_
    if history is None:
        history = child._history_ = History()
    history.in_a_row += 1
    seconds = backoff.delay(history.in_a_row, _random)
    has_waited = BackoffOver(child, child._incarnation_)

    def over() -> None:
        post(node, has_waited)
        _wait_no_longer(child)

    history.next_try = clock.now() + seconds
    # Should a signal handler cut `over` short in the hub, it comes again.
    history.retry_timer = timer = clock.new_timer(seconds, _AGAIN)
    timer.start(over, update=True)
    _write_down(node, item, "back_off", group, seconds)
    say(logging.INFO, child, "service waits before its restart", seconds=round(seconds, 3))


def _waits_already(child: Node) -> bool:
    return child._history_ is not None and child._history_.retry_timer is not None


def _wait_no_longer(child: Node) -> None:
    history = child._history_
    if history is not None and history.retry_timer is not None:
        history.retry_timer.close()
        history.retry_timer = history.next_try = None


# -- restarting ------------------------------------------------------------------------


def _group_of(node: Node, supervision: Supervision, failed: Node) -> Sequence[Node]:
    children = (node._children_ or {}).values()
    group = covered(node._policy_.strategy, children, failed, _depends)
    together = led_by(supervision, failed)
    return group if together is None else together.next_try(group, children)


def _depends(node: Node, others: Collection[Node]) -> bool:
    """Whether *node* is restarted with *others*, which came before it."""
    needs = node._policy_.needs
    return needs is None or any(other._name_ in needs for other in others)


def _stop_group(
    node: Node, supervision: Supervision, group: Sequence[Node], failed: Node, *, waits: bool
) -> GroupRestart:
    """Stop those who are restarted with *failed*, last first; they wait together from now on.

    The end of a significant one that the supervisor has not heard of is part of it: it does
    not shut the supervisor down (otp-rules 14, 66).
    """
    together = gather(supervision, group, failed, waits=waits)
    parking = Parking()
    pace = Pace()
    for sibling in reversed(group):
        pace()
        if sibling is failed or sibling._parent_ is not node:
            continue
        if sibling._state_ is RUNNING:
            end_soon(sibling, Reason.STOPPED)
        while (operation := sibling._op_) is not None:
            if not operation.is_start:
                operation.on_purpose = True  # its own crash counts with the group (otp-rules 14)
            operation.join(parking)
        if sibling._state_ is RESTARTING and id(sibling) in together.waiting:
            hold_back(sibling)  # it waits for its group now, whatever it has waited for
        leave_if_over(node, sibling)
    significant = {id(one) for one in group if one._policy_.significant and one is not failed}
    if significant:
        inbox = [each for each in supervision.inbox if not _is_past(each, significant)]
        supervision.inbox = deque(inbox)
    return together


def _is_past(item: ChildExit | BackoffOver, significant: Collection[int]) -> bool:
    if not isinstance(item, ChildExit) or item.is_retry or id(item.child) not in significant:
        return False
    return item.failure is None or not _is_escalated(item.failure)


def _restart(node: Node, supervision: Supervision, group: Sequence[Node], failed: Node) -> None:
    """Restart *failed* with everyone its parent's strategy covers (otp-rules 35-41)."""
    if node._policy_.strategy == "one_for_one":
        _start_again(failed)
        return
    together = _stop_group(node, supervision, group, failed, waits=False)
    pace = Pace()
    for child in [one for one in (node._children_ or {}).values() if id(one) in together.waiting]:
        pace()
        if node._state_ is not RUNNING:
            return
        if not together.takes(child) or child._parent_ is not node:
            continue  # stopped on purpose meanwhile, or temporary and gone (otp-rules 29)
        if not _start_again(child):
            if child._state_ is RESTARTING:
                together.leader = child  # those after it wait for its next try (otp-rules 41)
                return
            break
    for child in dissolved(supervision, together):
        cancel_retry(child)


def _start_again(child: Node) -> bool:
    """Try to restart one child; return whether to go on with the next."""
    if child._state_ not in DOWN:
        return True  # somebody else has started it
    child._restarts_ += 1
    try:
        start(child, restarts=True)
    except StartFailed:
        # Either it waits for its next try at the end of the inbox, and those after it
        # wait for it (otp-rules 41), or it was stopped on purpose meanwhile.
        # A failure that is to be escalated is the last thing that happens here, too.
        history = child._history_
        escalated = history is not None and any(map(_is_escalated, list(history.failures)[-1:]))
        return child._state_ is not RESTARTING and not escalated
    except KeyboardInterrupt as interrupt:
        interrupt_main(interrupt)
        return False
    return True
