"""A node: one place in the tree, and the service that lives there, in one object.

A `Service` *is* its node: the engine's slots lie inside the user's object, because a
second object for each of 100,000 idle services would be paid for in memory, in
creation and in every pass of the garbage collector. The slots have `_sunder_`
names, which Python's own enum uses for the same purpose: a user's `self.state`,
`self._state` and `self.children` stay theirs. Everything rare (children, resources,
history, supervision) is made on first use.

Who may write what:

- ``_state_`` changes only through `move`.
- STARTING and STOPPING are locks: ``_op_`` is the one operation in progress, and
  whoever wants the same thing joins it.
- ``_children_`` is changed by the holder of the node's turn, with one exception: a
  temporary child that ends by itself leaves without asking.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from sprag_supervisor import _clock
from sprag_supervisor._foreign import attribute_of, class_name, is_a
from sprag_supervisor._hooks import Body, check_hooks, hook, hooks_of
from sprag_supervisor._making import let_engine_read, let_engine_write, record_arguments
from sprag_supervisor._mistakes import warn_of_mistakes
from sprag_supervisor._policy import DEFAULT, Policy
from sprag_supervisor._states import ACTIVE, MOVES, NEW, RUNNING, SETTLED, State
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_supervisor._ending import Ending
    from sprag_supervisor._history import History
    from sprag_supervisor._holdings import Holdings
    from sprag_supervisor._starting import Starting
    from sprag_supervisor._supervision import Supervision
    from sprag_supervisor._tree import Tree


class Seat:
    """Whose code runs in one context.

    Emitting an event changes whose code runs, once per listener. Swapping the occupant of
    a seat costs a fifth of setting and resetting a context variable. So no two greenlets
    may share a seat: every context that is made for one gets its own.
    """

    __slots__ = ("node",)

    def __init__(self, node: Node | None) -> None:
        self.node = node


seat: Final[contextvars.ContextVar[Seat | None]] = contextvars.ContextVar(
    "sprag.current_service", default=None
)


def current_node() -> Node | None:
    """Return the service whose code is running, or None outside of any."""
    here = seat.get()
    return None if here is None else here.node


class Node:
    """One place in the tree and its service; the base class of every Service."""

    __slots__ = (
        "__weakref__",
        "_args_",
        "_children_",
        "_given_",
        "_history_",
        "_holdings_",
        "_incarnation_",
        "_kwargs_",
        "_name_",
        "_op_",
        "_parent_",
        "_policy_",
        "_restarts_",
        "_since_",
        "_state_",
        "_supervision_",
        "_tree_",
    )

    _class_policy_: ClassVar[Policy] = DEFAULT
    _keeps_slots_: ClassVar[bool] = True
    """In the class's own dict: its slots are the engine's and survive a restart."""
    _user_slots_: ClassVar[tuple[Any, ...]] = ()
    _run_is_hook_: ClassVar[bool] = True
    _has_run_: ClassVar[bool] = False
    _has_ready_: ClassVar[bool] = False
    _has_later_hooks_: ClassVar[bool] = False
    """It has hooks that run after `on_start`, and see what that has set."""
    _looked_at_: ClassVar[type | None] = None
    """Itself, once it has made a service."""
    _is_supervisor_: ClassVar[bool] = False
    _stops_together_: ClassVar[bool] = False
    """Children are stopped at the same time instead of one after another (otp-rules 46)."""
    _forgets_ended_: ClassVar[bool] = False
    """Children that end for good leave the tree, whatever their restart type."""

    _args_: tuple[Any, ...]
    _children_: dict[str, Node] | None
    _given_: tuple[Policy, dict[str, object]] | None
    """Its own policy, and what was given when it was adopted; that wins and survives restarts."""
    _history_: History | None
    _holdings_: Holdings | None
    _incarnation_: int
    _kwargs_: dict[str, Any] | None
    _name_: str | None
    _op_: Starting | Ending | None
    _parent_: Node | None
    _policy_: Policy
    _restarts_: int
    _since_: float
    """Monotonic time at which it came up or went down."""
    _state_: State
    _supervision_: Supervision | None
    _tree_: Tree | None

    def __init_subclass__(cls, **policy: object) -> None:
        """Check the policy keywords of the class: ``class Feed(Service, restart="transient")``."""
        super().__init_subclass__()
        cls._look_at_hooks_()
        record_arguments(cls, Node)
        if cls.__setattr__ is not _set:
            let_engine_write(cls)
        if cls.__getattribute__ is not _get:
            let_engine_read(cls)
        if policy:
            cls._class_policy_ = cls._class_policy_.with_(policy)
        warn_of_mistakes(cls)

    @classmethod
    def _look_at_hooks_(cls) -> None:
        """Take note of which hooks there are, and of what a restart has to empty.

        When the class is made, and with its first service: a decorator may have added some, or
        an ``__init_subclass__`` of the user's may not have called ours.
        """
        check_hooks(cls, tuple(hooks_of(cls)))
        cls._user_slots_ = tuple(_slots_of(cls))
        # A flag of that name, or what a user's __getattr__ makes up, is no hook.
        cls._has_run_ = cls._run_is_hook_ and callable(getattr(cls, "run", None))
        cls._has_ready_ = cls.on_ready is not Node.on_ready
        says_goodbye = cls.on_stop is not Node.on_stop or cls.on_drain is not Node.on_drain
        cls._has_later_hooks_ = cls._has_ready_ or says_goodbye

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the node before any ``__init__`` runs, which need not call this class's."""
        if cls._looked_at_ is not cls:
            cls._look_at_hooks_()
            cls._looked_at_ = cls
        self = super().__new__(cls)
        try:
            self._args_ = args
        except AttributeError:  # frozen, by a decorator: it came after the class was made
            let_engine_write(cls)
            self._args_ = args
        self._kwargs_ = kwargs or None
        self._state_ = NEW
        self._policy_ = cls._class_policy_
        self._incarnation_ = self._restarts_ = 0
        self._since_ = 0.0
        self._children_ = self._given_ = self._history_ = self._holdings_ = None
        self._name_ = self._op_ = self._parent_ = self._supervision_ = self._tree_ = None
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a copy be a new service, made with the same arguments: a life is not copied."""
        return functools.partial(type(self), *self._args_, **(self._kwargs_ or {})), ()

    # -- hooks: define what you need ---------------------------------------------
    # No class of sprag's own may override them: a hook that is still Node's is not run.

    if not TYPE_CHECKING:
        run = Body()

    @hook
    def on_start(self) -> None:
        """Hook: acquire what the service needs. It has started when this returns.

        Runs after the construction, once the tree with its bus and providers exists,
        in a greenlet that may block. Raising makes the start fail and releases all that
        was acquired; raising `Ignore` leaves the service out, without a failure.
        """

    @hook
    def on_ready(self) -> None:
        """Hook: everybody is there. Runs once the root of the tree, the app, has come up.

        And after each restart of the service, or when it is added to a tree that is up. All
        providers have started: this is the place to emit to all. Runs in a greenlet of its own,
        beside `run`, and holds up nobody; it may block, and a stop ends it where it does. An
        exception is the service's crash.
        """

    @hook
    def on_drain(self) -> None:
        """Hook: take no new work. The first step of a stop, parents before children.

        May block, within the service's ``shutdown`` seconds. An exception is reported and
        the stop goes on.
        """

    @hook
    def on_stop(self) -> None:
        """Hook: say goodbye. Runs after the children have stopped.

        The service's own greenlets, timers and listeners still live. Also runs after a
        crash, if `on_start` had returned. May block, within the ``shutdown`` seconds. An
        exception is reported and the stop goes on.
        """

    # -- for the engine ------------------------------------------------------------

    def _prepare_(self) -> None:
        """Do what comes before `on_start` and must not depend on a user's super() call."""

    def _check_room_(self) -> None:
        """Refuse one more child; called under the turn of a node that `_forgets_ended_`."""

    def _found_(self, tree: Tree) -> None:
        """Furnish the tree that the node is the root of."""

    def _ends_with_caller_(self) -> bool:
        """Whether the calling greenlet ends when the node does."""
        return is_within(current_node(), self)


_set: Final = Node.__setattr__
_get: Final = Node.__getattribute__


def move(node: Node, to: State) -> None:
    """Move *node* to another state: the only place where states change."""
    must_be_legal(node, to)
    node._state_ = to


def must_be_legal(node: Node, to: State) -> None:
    """Assert that *node* may move to another state: anything else is a bug of sprag."""
    assert to in MOVES[node._state_], f"{path_of(node)}: {node._state_.value} -> {to.value}"


def settled(node: Node) -> bool:
    """Whether the node has ended and will not come back by itself."""
    return node._state_ in SETTLED


def is_active(node: Node) -> bool:
    """Whether the node may acquire things now."""
    return node._state_ in ACTIVE


def lineage(node: Node) -> Iterator[Node]:
    """Yield the node and its parents up to the root."""
    above: Node | None = node
    while above is not None:
        yield above
        above = above._parent_


def checked_name(name: object) -> str:
    """Return what names a service as plain text: paths are joined by slashes.

    Raises:
        BadValue: *name* is empty, holds a slash, or is no text.
    """
    plain = str.__str__(name) if is_a(name, str) else ""
    if not plain or "/" in plain:
        raise BadValue("name", name, "a text that is not empty and holds no slash")
    return plain


def called(given: object) -> str:
    """Say what to do with a class that is given in the place of a service."""
    return f": write {class_name(given)}(...)" if is_a(given, type) else ""


def wanted_name(node: Node) -> str:
    """Return the name a node asks for: its attribute `name` if it has one, else its class's."""
    try:
        name: object = getattr(node, "name", None)
    except Exception:  # noqa: BLE001 - a property, or a `__getattr__`, of the user's
        name = None
    plain = str.__str__(name) if is_a(name, str) else ""
    return plain if plain and "/" not in plain else class_name(type(node))


def name_of(node: Node) -> str:
    """Return the node's name in its tree, or the name it would have."""
    return node._name_ or wanted_name(node)


def path_of(node: Node) -> str:
    """Return the names from the root down, joined by slashes."""
    return "/".join(reversed([name_of(above) for above in lineage(node)]))


def is_within(node: Node | None, root: Node) -> bool:
    """Whether *node* is *root* or lies below it."""
    return node is not None and any(above is root for above in lineage(node))


def reset(node: Node) -> None:
    """Bring the object back to its first state: no attributes, ``__init__`` run again.

    The constructor's arguments are the same objects as the first time.
    """
    attributes = attribute_of(node, "__dict__")
    if attributes:
        attributes.clear()
    for descriptor in type(node)._user_slots_:
        try:
            descriptor.__delete__(node)
        except AttributeError:
            continue  # was never set
    node._policy_ = type(node)._class_policy_
    type(node).__init__(node, *node._args_, **(node._kwargs_ or {}))
    if node._given_ is not None:
        own, given = node._policy_, node._given_[1]
        node._given_ = own, given
        node._policy_ = own.with_(given)


def _slots_of(cls: type[Node]) -> Iterator[Any]:
    """Yield the descriptors of the slots that users' classes have added."""
    for base in cls.__mro__:
        if "__slots__" in base.__dict__ and "_keeps_slots_" not in base.__dict__:
            yield from filter(inspect.ismemberdescriptor, base.__dict__.values())


def context_of(node: Node, base: contextvars.Context | None = None) -> contextvars.Context:
    """Return a context in which *node* is the current service.

    *base* itself, which must not be anybody else's; without it a fresh one that holds
    nothing else.
    """
    context = contextvars.Context() if base is None else base
    context.run(take_seat, node)
    return context


def take_seat(node: Node) -> None:
    """Make *node* the current service of the running context, which is nobody else's."""
    seat.set(Seat(node))


def uptime_of(node: Node) -> float | None:
    """Return the seconds since the node came up, or None while it is down."""
    if node._state_ is RUNNING:
        return _clock.now() - node._since_
    return None
