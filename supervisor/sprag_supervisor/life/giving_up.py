"""A supervisor that gives up, or gives up on one of its children."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sprag_supervisor.exceptions import Escalated, MaxRestartsExceeded, SpragError, TriesExceeded
from sprag_supervisor.facts.crash import remember
from sprag_supervisor.life.resting import detach, wake_waiters
from sprag_supervisor.life.stopping import end_soon
from sprag_supervisor.rules.decide import Reason
from sprag_supervisor.rules.states import FAILED
from sprag_supervisor.tree.living import announce
from sprag_supervisor.tree.log import saying
from sprag_supervisor.tree.moves import move
from sprag_supervisor.tree.names import name_of, path_of

if TYPE_CHECKING:
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.tree.node import Node

_GIVING_UP: Final = tuple(
    [each.__name__ for each in (MaxRestartsExceeded, TriesExceeded, Escalated)]
)


def give_up(node: Node, error: SpragError, last: Failure | None) -> None:
    """End the supervisor as a failure, caused by its child's last one (otp-rules 21)."""
    tell = saying(logging.ERROR, node, "supervisor gave up", reason=str(error))
    failure = remember(
        error, node._incarnation_, cause=last, action=node._policy_.action_for(error)
    )
    end_soon(node, Reason.GAVE_UP, failure)
    tell()


def too_often(
    node: Node, child: Node, restarts: int, last: Failure | None
) -> MaxRestartsExceeded | TriesExceeded:
    """Make the error for a child that has failed more often than its parent, or it, allows."""
    policy = node._policy_
    backoff = child._policy_.backoff_after(None if last is None else last.action)
    if restarts <= policy.max_restarts:
        assert backoff is not None
        assert backoff.tries is not None
        why = "" if last is None else root_of(last)
        return TriesExceeded(path_of(node), name_of(child), backoff.tries, why)
    why = "it finished too often" if last is None else root_of(last)
    if backoff is not None:
        waited = backoff.least(policy.max_restarts)
        why += (
            f"; its backoff had waited {waited:.1f} s in all: a longer initial, or a larger "
            f"max_restarts of {name_of(node)}, outlasts more"
        )
    return MaxRestartsExceeded(
        path_of(node), name_of(child), policy.max_restarts, policy.max_seconds, why
    )


def root_of(failure: Failure) -> str:
    """Return what all began with, in a line, below the supervisors that gave up over it.

    Each naming the whole of the one below would double the text with every level.
    """
    while failure.cause is not None and failure.type in _GIVING_UP:
        failure = failure.cause
    return str(failure)


def fail_for_good(node: Node, child: Node, tried: int) -> None:
    """Let a child that waits for its restart be `failed`: it has been tried often enough."""
    tell = saying(logging.ERROR, child, "service is not restarted any more", tries=tried)
    move(child, FAILED)
    announce(child, "gave_up", "restart_cancelled", Reason.GAVE_UP.value)
    wake_waiters(child)
    if child._policy_.restart == "temporary" or node._forgets_ended_:
        detach(child)
    tell()
