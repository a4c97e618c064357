"""Restarts of several children together: who goes down with the one that failed.

The others are stopped last first and started first first (otp-rules 35-41). Whoever waits meanwhile
is `restarting`; who waits for whom is kept in `tree/group`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sprag_supervisor.life.bringing_up import restart
from sprag_supervisor.life.needing import must_wait
from sprag_supervisor.life.resting import cancel_retry, hold_back, leave_if_over
from sprag_supervisor.life.stopping import end_now, end_soon
from sprag_supervisor.loop.pace import Pace
from sprag_supervisor.loop.parking import Parking
from sprag_supervisor.rules.decide import Reason, covered
from sprag_supervisor.rules.policy import is_grave
from sprag_supervisor.rules.states import RESTARTING, RUNNING
from sprag_supervisor.tree.group import dissolved, gather, led_by
from sprag_supervisor.tree.held import HeldInbox
from sprag_supervisor.tree.log import say

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sprag_supervisor.tree.node import GroupRestart, Item, Node, Supervision


def group_of(node: Node, supervision: Supervision, failed: Node) -> Sequence[Node]:
    """Return who is restarted with *failed*, itself included, in start order.

    Who is held is neither stopped nor started.

    Args:
        node: Their parent.
        supervision: Its supervision.
        failed: Whose restart it is.
    """
    children = (node._children_ or {}).values()
    group = covered(node._policy_.strategy, children, failed, _Depends(failed))
    together = led_by(supervision, failed)
    if together is not None:
        group = together.next_try(group, children)
    inbox = supervision.inbox
    return _without_held(inbox, group, failed) if isinstance(inbox, HeldInbox) else group


def _without_held(inbox: HeldInbox, group: Sequence[Node], failed: Node) -> Sequence[Node]:
    group, held = inbox.leave_out(group, failed)
    for one in held:
        say(logging.WARNING, one, "service is held: the others are restarted without it")
    return group


class _Depends:
    """Whether a service is restarted with *failed*; asked in start order, of those after it."""

    def __init__(self, failed: Node) -> None:
        self._names = {failed._name_}

    def __call__(self, node: Node) -> bool:
        needs = node._policy_.needs
        depends = needs is None or not self._names.isdisjoint(needs)
        if depends:
            self._names.add(node._name_)
        return depends


def stop_group(
    node: Node, supervision: Supervision, group: Sequence[Node], failed: Node, *, waits: bool
) -> GroupRestart:
    """Stop those who are restarted with *failed*, last first; they wait together from now on.

    The end of a significant one that the supervisor has not heard of is part of it: it does
    not shut the supervisor down (otp-rules 14, 66). If the supervisor ends meanwhile, so do all:
    then the rest is left to that, see `goes_on`.
    """
    together = gather(supervision, group, failed, waits=waits)
    for one in together.waiting.values():
        if one._state_ is RESTARTING:
            hold_back(one)  # it waits for its group now, whatever it has waited for
    parking = Parking()
    pace = Pace()
    for sibling in reversed(group):
        pace()
        if not goes_on(node, supervision):
            return together
        if sibling is failed or sibling._parent_ is not node:
            continue
        if sibling._state_ is RUNNING:
            end_soon(sibling, Reason.STOPPED, drains=False)
        while goes_on(node, supervision) and (operation := sibling._op_) is not None:
            if not operation.is_start:
                operation.on_purpose = True  # its own crash counts with the group (otp-rules 14)
                end_now(operation)
            operation.join(parking)
        if not goes_on(node, supervision):
            return together
        leave_if_over(node, sibling)
    significant = {id(one) for one in group if one._policy_.significant and one is not failed}
    if significant:
        inbox = [each for each in supervision.inbox if not _is_past(each, significant)]
        supervision.inbox.clear()
        supervision.inbox.extend(inbox)
    return together


def goes_on(node: Node, supervision: Supervision) -> bool:
    """Whether *node* still runs, in the life of which *supervision* is.

    To be asked whenever somebody else had a turn: the children of its next life are the same ones,
    at the same places, and none of the business of a restart that its last one has begun.
    """
    return node._state_ is RUNNING and node._supervision_ is supervision


def _is_past(item: Item, significant: Collection[int]) -> bool:
    child, _incarnation, reason, failure, is_retry = item
    if reason is None or is_retry is True or id(child) not in significant:
        return False
    return failure is None or not is_grave(failure.action)


def is_on_its_own(child: Node) -> bool:
    """Whether *child* waits for the next try of its first start: nobody waits for it."""
    history = child._history_
    return child._state_ is RESTARTING and history is not None and history.first_start


def restart_group(
    node: Node, supervision: Supervision, group: Sequence[Node], failed: Node
) -> None:
    """Stop those who go down with *failed*, last first, and start all, first first."""
    together = stop_group(node, supervision, group, failed, waits=False)
    pace = Pace()
    for child in [one for one in (node._children_ or {}).values() if id(one) in together.waiting]:
        pace()
        if not goes_on(node, supervision):
            return
        if not together.takes(child) or child._parent_ is not node:
            continue  # stopped on purpose meanwhile, or temporary and gone (otp-rules 29)
        if child._policy_.needs and child._state_ is RESTARTING and must_wait(child):
            continue  # on its own from now on: it stops nobody when it starts
        if not restart(child):
            if is_on_its_own(child):
                continue
            if child._state_ is RESTARTING:
                together.leader = child  # those after it wait for its next try (otp-rules 41)
                return
            break
    if goes_on(node, supervision):
        for child in dissolved(supervision, together):
            cancel_retry(child)
