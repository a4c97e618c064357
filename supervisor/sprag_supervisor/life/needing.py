"""What a service needs of its siblings before it starts, and its waiting for that.

A service waits in the state `restarting`, whether it was up before or not: so a stop, a group
restart or the end of its parent treat it as one that waits for its backoff. A `Wait` lies where the
timer of that would (`History.retry_timer`). It is looked at whenever something happens to one of
the siblings, which `Waits` hears as an observer of the tree: it is one only while somebody waits,
so that trees without needs pay nothing.

When nothing is missing any more, the parent is told, as at the end of a backoff; and looks again.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from sprag_supervisor.facts.memory import History
from sprag_supervisor.life.settling import post
from sprag_supervisor.rules.states import ACTIVE, FINISHED, RESTARTING, RUNNING, SETTLED, STOPPED
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.log import say
from sprag_supervisor.tree.moves import move
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sprag_supervisor.facts.lifecycle import Lifecycle
    from sprag_supervisor.rules.graph import Need
    from sprag_supervisor.tree.node import Node, Tree

_HEARD: Final = frozenset(
    {"started", "restarted", "ready", "unready", "finished", "stopped", "crashed", "gave_up"}
)


def unmet(child: Node) -> tuple[str, ...]:
    """Return the names of those siblings that are not yet what *child* needs them to be."""
    needs, parent = child._policy_.needs, child._parent_
    if not needs or parent is None:
        return ()
    siblings = parent._children_ or {}
    return tuple([name for name, need in needs.items() if not _is_met(siblings.get(name), need)])


def _is_met(sibling: Node | None, need: Need) -> bool:
    if sibling is None:
        return False
    if need == "finished":
        return sibling._state_ is FINISHED
    if sibling._state_ is not RUNNING:
        return False
    holdings = sibling._holdings_
    return need == "started" or type(holdings) is not Holdings or holdings.unready is None


def must_wait(child: Node) -> bool:
    """Let *child*, which is to be started and `restarting`, wait if something is missing."""
    missing = unmet(child)
    if missing:
        wait_for(child, missing)
    return bool(missing)


def wait_for(
    child: Node, missing: tuple[str, ...], wake: Callable[[], object] | None = None
) -> None:
    """Let *child*, which is `restarting`, wait for siblings.

    Args:
        child: Who waits.
        missing: The names of those that are not yet what they have to be.
        wake: Called when nothing is missing any more; None: its parent is told that it has
            waited long enough.
    """
    tree, history = child._tree_, child._history_
    assert tree is not None
    if history is None:
        history = child._history_ = History()
    wait = history.retry_timer
    history.next_try, history.waits_for = None, dict.fromkeys(missing)
    if isinstance(wait, Wait):
        wait.wake = wake  # what has been told of is not told again
    else:
        history.retry_timer = wait = Wait(child, tree, history, wake)
        wait.begin()


class Wait:
    """One service that waits for its siblings. Does for `History` what a timer does."""

    __slots__ = ("_child", "_history", "_incarnation", "_told", "_tree", "paths", "wake")

    def __init__(
        self,
        child: Node,
        tree: Tree,
        history: History,
        wake: Callable[[], object] | None,
    ) -> None:
        self._child = child
        self._incarnation = child._incarnation_
        self._tree = tree
        self.wake = wake
        parent = child._parent_
        above = "" if parent is None else path_of(parent)
        self.paths = [f"{above}/{name}" for name in child._policy_.needs or ()]
        """Of all that are needed."""
        self._told: set[str] = set()
        """Those of whom it was told that they do not come by themselves."""
        self._history = history

    def begin(self) -> None:
        """Hear of the siblings from now on."""
        waits_of(self._tree).add(self)
        for sibling in self.siblings():
            call_up(sibling)
        self._tell(self._history.waits_for)

    def siblings(self) -> list[Node]:
        """Return those of the missing that are there."""
        children = self._children()
        return [children[name] for name in self._history.waits_for if name in children]

    def _children(self) -> Mapping[str, Node]:
        parent = self._child._parent_
        return (None if parent is None else parent._children_) or {}

    def look(self, name: str) -> None:
        """See whether the sibling of that name is missing now; in the midst of the engine's work.

        Not all are looked at each time: of 10,000 that are needed each tells of its start.
        """
        child, parent = self._child, self._child._parent_
        if child._state_ is not RESTARTING or child._incarnation_ != self._incarnation:
            self.close()
            return
        missing, need = self._history.waits_for, (child._policy_.needs or {}).get(name)
        if need is None or _is_met(self._children().get(name), need):
            missing.pop(name, None)
        else:
            missing[name] = None
        if missing or parent is None:
            self._tell((name,))
        elif self.wake is not None:
            self.wake()
        else:
            self.close()
            post(parent, (child, self._incarnation, None, None, False))

    def close(self) -> None:
        """Wait no longer. Harmless a second time."""
        history = self._history
        history.waits_for = {}
        if history.retry_timer is self:
            history.retry_timer = None
        waits_of(self._tree).remove(self)

    def _tell(self, names: Iterable[str]) -> None:
        """Say of whom of *names* nothing is to be hoped for, once each."""
        child = self._child
        parent = child._parent_
        if parent is None or parent._state_ not in ACTIVE:
            return
        siblings = self._children()
        gone = [name for name in names if _is_hopeless(siblings.get(name))]
        new = [name for name in gone if name not in self._told]
        self._told.difference_update(names)
        self._told.update(gone)
        if new:
            text = "service waits for what does not come by itself: start that, or this"
            states = {name: _state_word(siblings.get(name)) for name in new}
            said = ", ".join(f"{name} ({state})" for name, state in states.items())
            self._tree.pool.launch(partial(say, logging.WARNING, child, text, needs=said))


def _is_hopeless(sibling: Node | None) -> bool:
    return sibling is None or sibling._state_ in SETTLED


def _state_word(sibling: Node | None) -> str:
    return "not there" if sibling is None else sibling._state_.value


def is_waited_for(sibling: Node) -> bool:
    """Whether somebody waits for what has the place of *sibling*."""
    waits: Waits | None = None if sibling._tree_ is None else sibling._tree_.waits
    return waits is not None and path_of(sibling) in waits.by_path


def call_up(sibling: Node) -> None:
    """Have one that waits to be called for (`autostart=False`) started by its parent."""
    parent = sibling._parent_
    if parent is not None and sibling._state_ is STOPPED and not sibling._policy_.autostart:
        move(sibling, RESTARTING)
        post(parent, (sibling, sibling._incarnation_, None, None, False))


class Waits:
    """Who in a tree waits for whom: an observer of the tree while anybody does."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.by_path: dict[str, dict[int, Wait]] = {}
        """Those who wait, by the path of whom they need."""

    def add(self, wait: Wait) -> None:
        """Look at *wait* whenever something happens to one that it needs."""
        if not self.by_path:
            self._tree.observers.append(self)
        for path in wait.paths:
            self.by_path.setdefault(path, {})[id(wait)] = wait

    def remove(self, wait: Wait) -> None:
        """Look at it no more."""
        for path in wait.paths:
            waiting = self.by_path.get(path)
            if waiting is not None and waiting.pop(id(wait), None) is not None and not waiting:
                del self.by_path[path]
        if not self.by_path and self in self._tree.observers:
            self._tree.observers.remove(self)

    def __call__(self, record: Lifecycle) -> None:
        """Hear what has happened to a service; the engine calls this as an observer."""
        waiting = self.by_path.get(record.path)
        if waiting and record.event in _HEARD:
            name = record.path.rpartition("/")[2]
            for wait in tuple(waiting.values()):
                wait.look(name)


def waits_of(tree: Tree) -> Waits:
    """Return who waits in *tree*, made on first use."""
    waits: Waits | None = tree.waits
    if waits is None:
        waits = tree.waits = Waits(tree)
    return waits
