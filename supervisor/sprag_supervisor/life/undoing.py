"""A start that has failed: all that it has acquired is released, and who asked is told why.

What is thrown at the greenlet that waits for the start must wait: the start is undone first.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gevent import GreenletExit

from sprag_supervisor.exceptions import Ignore, StartAborted, StartFailed, StartTimeout
from sprag_supervisor.facts.crash import passed_on, remember
from sprag_supervisor.facts.failure import Failure, as_text
from sprag_supervisor.facts.meaning import meaning_of
from sprag_supervisor.foreign import attribute_of, cause_of, class_name, is_a
from sprag_supervisor.life import guard
from sprag_supervisor.life.bugs import give_in, interrupt_main, report_bug
from sprag_supervisor.life.ending import Ending
from sprag_supervisor.life.settling import End
from sprag_supervisor.life.starting import Starting
from sprag_supervisor.life.stopping import begin, exit_as_asked, force, launch
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.rules.backoff import ExitApp
from sprag_supervisor.rules.decide import RESTARTS, Reason, ruling
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.living import let_hear
from sprag_supervisor.tree.log import say, saying
from sprag_supervisor.tree.names import lineage, path_of

if TYPE_CHECKING:
    from sprag_supervisor.tree.node import Node

_THROWN: Final = 100
"""So often may something be thrown at who undoes a start by force."""


def undo(starting: Starting) -> None:
    """Undo a start that has failed or was aborted, and raise why; nothing for `Ignore`."""
    node = starting.node
    raised_by_user = starting.error if starting.aborted is None else starting.aborted
    assert raised_by_user is not None
    error = meaning_of(raised_by_user)
    if raised_by_user is not error and not is_a(error, GreenletExit):
        say(logging.ERROR, node, "an exit was raised among other exceptions", raised_by_user)
    del raised_by_user
    path = path_of(node)  # now: a temporary service leaves the tree as soon as it has ended
    if starting.aborted is not None and starting.error is not None:
        _tell_of(starting, starting.error)
    try:
        _release(starting, error)
    finally:
        starting.wake_joiners()
    raised = _told(starting, path, error) if starting.interrupt is None else starting.interrupt
    # What is raised keeps this frame and those of `on_start`: no work for the collector.
    starting.error = starting.aborted = starting.interrupt = starting.tell = None
    del starting, error
    if raised is not None:
        try:
            raise raised
        finally:
            del raised


def _tell_of(starting: Starting, error: BaseException) -> None:
    """Report what `on_start` has raised while it was cut short: nobody else would."""
    if is_a(error, KeyboardInterrupt):
        interrupt_main(error)
    elif error is not starting.aborted and not (
        is_a(error, GreenletExit) or is_a(error, StartFailed)
    ):
        say(logging.ERROR, starting.node, "service raised while its start was cut short", error)


def _told(starting: Starting, path: str, error: BaseException) -> BaseException | None:
    """Return what the one who asked for the start is told about *error*."""
    if is_a(error, Ignore):
        return None
    if is_a(error, KeyboardInterrupt):
        return error
    if is_a(error, StartFailed) and _is_from_below(error, path):
        return error  # the innermost failure, unchanged through the levels
    failed = _failure_for(path, error)
    failed.failure = starting.failure
    failed.__cause__ = error
    return failed


def _release(starting: Starting, error: BaseException) -> None:
    """Release what the start has acquired; what is thrown at us meanwhile must wait."""
    node = starting.node
    starting.keep_context()
    if is_a(error, SystemExit):
        guard.report_crash(node, node._incarnation_, "on_start", error)
    reason, failure = _verdict(starting, error)
    if failure is not None and is_a(failure.action, ExitApp):
        exit_as_asked(node, reason, failure, failure.action)
    end = End(
        node,
        reason,
        failure,
        had_started=False,
        on_purpose=starting.on_purpose,
        retries=starting.retries or _is_tried_again(starting, failure),
    )
    ending = begin(end, starting.deadline, starting.left_behind)
    starting.wake_joiners()
    if ending is not None:
        launch(ending)
    if starting.tell is not None:
        try:
            starting.tell()
        except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
            starting.hold_back(interrupt)
    while ending is not None and not ending.done:
        try:
            ending.join(starting.parking)
        except BaseException as interrupt:  # noqa: BLE001 - raised again when all is undone
            starting.hold_back(interrupt)


def _verdict(starting: Starting, error: BaseException) -> tuple[Reason, Failure | None]:
    if is_a(error, Ignore):
        return Reason.IGNORED, None
    node = starting.node
    if starting.on_purpose or (starting.interrupt is not None and _called_off(node)):
        return Reason.STOPPED, None
    # Of a child's failure the service judges what the child raised.
    is_from_below = is_a(error, StartFailed)
    below = cause_of(error) if is_from_below else None
    action = node._policy_.action_for(error if below is None else below)
    # A restart that comes to nothing, cleanly; of a first start, who has asked for it is told.
    is_first = node._history_ is None or node._history_.first_start
    finishes = action == "finish" and starting.retries and not is_first
    told = attribute_of(error, "failure") if is_from_below else None
    if type(told) is Failure:
        # On the way up it is the same failure: not logged again, nor its ever longer
        # traceback walked at each of a thousand levels.
        failure = passed_on(error, told, node._incarnation_, action)
    else:
        failure = remember(error, node._incarnation_, action=action)
        if finishes:
            starting.tell = saying(
                logging.INFO, node, "service finished", because=as_text(error), step="on_start"
            )
        elif not is_a(error, SystemExit):
            let_hear(node, "on_start", error)
            starting.tell = saying(logging.ERROR, node, "service failed to start", error)
        starting.failure = failure
    return Reason.FINISHED if finishes else Reason.START_FAILED, failure


def _is_tried_again(starting: Starting, failure: Failure | None) -> bool:
    """Whether a first start that has failed leaves the service `restarting` (`retry_start`)."""
    node = starting.node
    history, parent = node._history_, node._parent_
    if history is None or parent is None or failure is None or not history.first_start:
        return False
    own, above = node._policy_, parent._policy_
    return ruling(own, Reason.START_FAILED, failure.action, above, is_first=True) in RESTARTS


def _failure_for(path: str, error: BaseException) -> StartFailed:
    if is_a(error, GreenletExit):
        reason = "on_start was killed"
    elif is_a(error, StartTimeout) or is_a(error, StartAborted):
        reason = as_text(error)
    else:
        text = as_text(error)
        name = class_name(type(error))
        reason = f"{name}: {text}" if text else name
    return StartFailed(path, reason)


def _is_from_below(error: BaseException, path: str) -> bool:
    """Whether a StartFailed is about a service below *path*; a user may raise one of any kind."""
    where = attribute_of(error, "path")
    return type(where) is str and where.startswith(f"{path}/")


def _called_off(node: Node) -> bool:
    """Whether a service above *node* is wanted down: its start is cut short with theirs."""
    above = (each._op_ for each in lineage(node))
    return any(operation is not None and operation.on_purpose for operation in above)


def undo_by_force(node: Node, error: BaseException, *, retries: bool) -> None:
    """Bring down a service whose start was cut short by *error* within sprag's own code."""
    try:
        bug = None if is_a(error, KeyboardInterrupt) else report_bug(node, "start", error)
        operation = node._op_
        left_behind = None
        if isinstance(operation, Starting):
            operation.aborted = error if operation.aborted is None else operation.aborted
            operation.see_through()
            left_behind = operation.worker if operation.is_abandoned else None
        ending = node._op_
        if not isinstance(ending, Ending):
            end = End(
                node,
                Reason.START_FAILED,
                remember(error if bug is None else bug, node._incarnation_),
                had_started=node._state_ is RUNNING,
                on_purpose=operation is not None and operation.on_purpose,
                retries=retries,
            )
            ending = force(end, left_behind)
        if isinstance(operation, Starting):
            for parking in operation.joiners or ():
                parking.poke()
        launch(ending)
        _wait_for(ending)
    except BaseException as second:  # noqa: BLE001 - the last resort is for this
        report_bug(node, "undoing a start after a bug in sprag", second)
        give_in(node)


def _wait_for(ending: Ending) -> None:
    """Wait for an end, whatever is thrown at us meanwhile: the start has to be undone first."""
    parking = Parking()
    for _ in range(_THROWN):
        with suppress(BaseException):
            ending.join(parking)
        if ending.done:
            return
