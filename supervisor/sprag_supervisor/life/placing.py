"""What a child asks of its place below a parent, and what is wrong about that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from sprag_supervisor.exceptions import AlreadyPresent, AlreadyStarted, BadPolicy, StartFailed
from sprag_supervisor.life.lineup import lineup_of
from sprag_supervisor.rules.policy import check_need
from sprag_supervisor.rules.states import ACTIVE
from sprag_supervisor.tree.home import must_be_able_to_wait
from sprag_supervisor.tree.names import path_of
from sprag_supervisor.wording import choices, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_supervisor.rules.graph import Need
    from sprag_supervisor.rules.policy import Policy
    from sprag_supervisor.tree.node import Node


_NEEDED: Final = 100
"""Names that are remembered before any of them is forgotten."""


def check_place(parent: Node, name: str, policy: Policy) -> None:
    """Refuse what a child asks for and *parent* cannot give."""
    if policy.significant and parent._policy_.auto_shutdown == "never":
        # otp-rules 63
        raise BadPolicy("significant", True, "it below a parent with auto_shutdown set")
    if policy.needs:
        _check_needs(parent, name, policy.needs)
        in_list = parent._supervision_ is not None and lineup_of(parent._supervision_) is not None
        if not in_list and name not in (parent._children_ or {}):
            # A list is looked at as a whole, and who has the name already is refused for that.
            _check_circle(parent, name, policy.needs)


def _check_needs(parent: Node, child: str, needs: Mapping[str, Need]) -> None:
    """Refuse a need of what is not there, or can never be what it has to be."""
    siblings = parent._children_ or {}
    for name, need in needs.items():
        sibling = siblings.get(name)
        if sibling is None:
            known = choices(name, siblings) if siblings else "there is none"
            why = f"it needs {shown(name)}, which is no sibling of it ({known}): adopt that before"
            raise StartFailed(f"{path_of(parent)}/{child}", why)
        check_need(name, need, sibling._policy_)
        if need == "finished" and parent._forgets_ended_:
            accepted = f"'started' or 'ready': who has finished leaves {path_of(parent)}"
            raise BadPolicy("needs", {name: need}, accepted)


class Needed:
    """Whom the children of one parent need, or have needed: nobody else can be in a circle."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._most = _NEEDED

    def __contains__(self, name: str) -> bool:
        """Whether somebody may need what has that *name*."""
        return name in self._names

    def note(self, needs: Mapping[str, Need], parent: Node | None) -> None:
        """Take note of what a child of *parent* needs; forget now and then what none does."""
        self._names.update(needs)
        if len(self._names) > self._most:
            self._names.clear()
            for child in ((None if parent is None else parent._children_) or {}).values():
                self._names.update(child._policy_.needs or ())
            self._most = 2 * len(self._names) + _NEEDED


def _check_circle(parent: Node, child: str, needs: Mapping[str, Need]) -> None:
    """Refuse to need who needs *child* already: one that has left comes back, maybe."""
    needed = None if parent._supervision_ is None else parent._supervision_.needed
    if needed is None or child not in needed:
        return  # the way down a long chain is not gone for each of its links
    siblings = parent._children_ or {}
    came_from = dict.fromkeys(needs, child)
    pending = list(needs)
    while pending:
        name = pending.pop()
        for wanted in () if name not in siblings else siblings[name]._policy_.needs or ():
            if wanted == child:
                way = [child, name]
                while way[-1] != child:
                    way.append(came_from[way[-1]])
                circle = " -> ".join([child, *reversed(way[1:-1]), child])
                raise BadPolicy("needs", list(needs), f"no circle: {circle}")
            if wanted not in came_from:
                came_from[wanted] = name
                pending.append(wanted)


def refuse_present(parent: Node, child: Node) -> NoReturn:
    """Refuse to start a child that is there already, in OTP's words (otp-rules 54)."""
    must_be_able_to_wait(parent, "start a child")
    if child._state_ in ACTIVE:
        raise AlreadyStarted(path_of(child), child._state_.value)
    raise AlreadyPresent(path_of(child), child._state_.value)
