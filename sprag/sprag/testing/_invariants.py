"""What is true of every tree whenever its loop is quiet, whatever has happened to it.

Each rule is a generator that yields a line for whatever breaks it. None of them needs to
know the history, so they hold for any program; sprag's own tests check them after every
step of random stories (tests/lifecycle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor import (
    DOWN,
    Ending,
    Node,
    Starting,
    State,
    clock,
    held_by,
    is_active,
    is_held,
    next_try_of,
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def check_invariants(tree_root: Node) -> None:
    """Check that a tree is in order: its places, its states, and who owns what.

    For any moment at which the loop is quiet: in virtual time after `VirtualClock.settle` or
    ``advance``. While something that is ready still waits to run, a half-done step may look
    like a fault. Hooks that block do not matter. Does not block.

    Args:
        tree_root: The root of the tree; started or not.

    Raises:
        AssertionError: Something is wrong; the path and the broken rule are named.
    """
    faults = [f"{path_of(tree_root)}: the root has a parent"] if tree_root._parent_ else []
    nodes: list[Node] = [tree_root]
    for node in nodes:
        nodes.extend((node._children_ or {}).values())
        faults.extend(f"{path_of(node)}: {fault}" for rule in _RULES for fault in rule(node))
    faults.extend(_strangers_on_the_bus(tree_root, set(map(id, nodes))))
    if faults:
        raise AssertionError("\n".join(faults))


def _children_know_their_place(node: Node) -> Iterator[str]:
    for name, child in (node._children_ or {}).items():
        if child._parent_ is not node:
            yield f"its child {name!r} has another parent"
        if child._name_ != name:
            yield f"its child {name!r} thinks its name is {child._name_!r}"
        if child._tree_ is not node._tree_:
            yield f"its child {name!r} belongs to another tree"


def _state_and_operation_agree(node: Node) -> Iterator[str]:
    state, operation = node._state_, node._op_
    expected = {State.STARTING: Starting, State.STOPPING: Ending}.get(state, type(None))
    if not isinstance(operation, expected):
        yield f"{state.value}, but in progress is {type(operation).__name__}"
    elif isinstance(operation, Starting | Ending) and operation.node is not node:
        yield "what is in progress belongs to another service"
    if isinstance(operation, Ending) and operation.done:
        yield "its end is over, but it is still stopping"


def _nothing_is_left_of_what_is_down(node: Node) -> Iterator[str]:
    if node._state_ not in DOWN:
        return
    if node._children_:
        yield f"{node._state_.value}, but has children: {', '.join(node._children_)}"
    if node._holdings_ is not None:
        yield f"{node._state_.value}, but still holds things"


def _holds_only_what_lives(node: Node) -> Iterator[str]:
    holdings = held_by(node)
    if holdings is None:
        return
    if any(greenlet.dead for greenlet in (holdings.greenlets or {}).values()):
        yield "holds a greenlet that has ended"
    # What stands for no task stays, though nothing of it is left to be done: a pool that is idle.
    if any(call.done and getattr(call, "tasks", 1) for call in holdings.calls or ()):
        yield "holds a timer's call that has returned"
    timers: Iterable[Any] = holdings.timers or ()
    listeners: Iterable[Any] = holdings.subscriptions or ()
    if not all(getattr(timer, "active", True) for timer in timers):
        yield "holds a timer that was cancelled"
    # One whose call is under way, in its emitter's greenlet, is held until that returns.
    if not all(getattr(each, "active", True) or each.running for each in listeners):
        yield "holds a listener that was cancelled"


def _only_who_waits_for_a_restart_has_a_next_try(node: Node) -> Iterator[str]:
    history = node._history_
    if history is None:
        return
    waits = history.next_try is not None or bool(history.waits_for)
    if waits != (history.retry_timer is not None):
        yield "what it waits for and its timer do not agree"
    if waits and node._state_ is not State.RESTARTING:
        yield f"{node._state_.value}, but has a next try"
    if history.next_try is not None and history.next_try < clock.now():
        yield "the time of its next try has passed"


def _counters_agree(node: Node) -> Iterator[str]:
    may_be_unborn = node._state_ in (State.NEW, State.RESTARTING, State.STOPPED)  # it waits
    if (node._state_ is State.NEW and node._incarnation_) or not (
        may_be_unborn or node._incarnation_
    ):
        yield f"{node._state_.value} in incarnation {node._incarnation_}"
    if node._restarts_ > node._incarnation_:
        yield f"restarted {node._restarts_} times in {node._incarnation_} incarnations"


def _restarts_keep_within_the_limit(node: Node) -> Iterator[str]:
    supervision = node._supervision_
    if supervision is None or supervision.window is None or node._state_ is not State.RUNNING:
        return
    if supervision.window.count > node._policy_.max_restarts:
        yield "runs, but its children were restarted too often"


def _every_end_is_attended_to(node: Node) -> Iterator[str]:
    """A turn is held while something of a child's is in progress, and an inbox is emptied."""
    supervision = node._supervision_
    children = (node._children_ or {}).values()
    is_taken = supervision is not None and supervision.turn.holder is not None
    if is_taken and is_active(node) and all(child._op_ is None for child in children):
        yield "its turn is held, but nothing of its children is in progress"
    if node._state_ is not State.RUNNING or is_taken:
        return
    if supervision is not None and (supervision.inbox or supervision.attended):
        yield "nobody works through its inbox"
    for child in children:
        history = child._history_
        waits = next_try_of(child) is not None  # its own, or that of its group
        waits = waits or (history is not None and bool(history.waits_for))
        led = (
            [] if supervision is None else [g for g in supervision.groups if id(child) in g.waiting]
        )
        waits = waits or any(each.leader is not None and is_held(each.leader) for each in led)
        if child._state_ is State.RESTARTING and not waits and not is_held(child):
            yield f"{child._name_} waits for a restart that nobody will make"


_RULES: Final[tuple[Callable[[Node], Iterator[str]], ...]] = (
    _children_know_their_place,
    _state_and_operation_agree,
    _nothing_is_left_of_what_is_down,
    _holds_only_what_lives,
    _only_who_waits_for_a_restart_has_a_next_try,
    _counters_agree,
    _restarts_keep_within_the_limit,
    _every_end_is_attended_to,
)


def _strangers_on_the_bus(root: Node, nodes: set[int]) -> Iterator[str]:
    """Name those who listen to the tree's events and are not, or no longer, part of it."""
    bus = None if root._tree_ is None else root._tree_.bus
    if bus is None:
        return
    for one in (bus, bus.feed.bus) if bus.feed else (bus,):
        for event in tuple(one.topics):
            for listener in one.listeners(event):
                node = listener._node
                if node is None:
                    yield f"a cancelled listener is still on the bus, for {event!r}"
                elif id(node) not in nodes or node._state_ in DOWN:
                    yield f"{path_of(node)}: listens to {event!r}, but is down or has left the tree"
