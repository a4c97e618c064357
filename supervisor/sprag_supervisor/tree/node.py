"""The records that hold each other: a node, its tree, and what it needs to supervise.

A `Node` is one place in the tree, and the service that lives there, in one object.
A `Service` *is* its node: the engine's slots lie inside the user's object, because a
second object for each of 100,000 idle services would be paid for in memory, in
creation and in every pass of the garbage collector. The slots have `_sunder_`
names, which Python's own enum uses for the same purpose: a user's `self.state`,
`self._state` and `self.children` stay theirs. Everything rare (children, resources,
history, supervision) is made on first use.

Who may write what:

- ``_state_`` changes only along `MOVES`; see `moves`.
- STARTING and STOPPING are locks: ``_op_`` is the one operation in progress, and
  whoever wants the same thing joins it.
- ``_supervision_.children`` is changed by the holder of the node's turn, with one exception: a
  temporary child that ends by itself leaves without asking.

How many slots there are is paid for by each service: two of eight bytes are a step of the
allocator's. tests/supervisor/test_cost.py counts them.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from sprag_supervisor.facts.memory import Ledger, Memories
from sprag_supervisor.facts.report import StopReport
from sprag_supervisor.loop.turn import Turn
from sprag_supervisor.rules.policy import DEFAULT, Policy
from sprag_supervisor.rules.states import NEW, SETTLED, State
from sprag_supervisor.tree.hooks import Body, check_hooks, hook, hooks_of
from sprag_supervisor.tree.making import (
    Arguments,
    arguments_of,
    let_engine_read,
    let_engine_write,
    record_arguments,
    remember_arguments,
    slots_of,
)
from sprag_supervisor.tree.mistakes import warn_of_mistakes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gevent.hub import Hub

    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.hold import Holds
    from sprag_supervisor.facts.lifecycle import Lifecycle
    from sprag_supervisor.facts.memory import History
    from sprag_supervisor.loop.pool import Pool
    from sprag_supervisor.rules.decide import Reason, RestartWindow
    from sprag_supervisor.tree.heartbeat import Heartbeat
    from sprag_supervisor.tree.holdings import Holdings, Subscription
    from sprag_supervisor.tree.operation import Operation, PendingOperation


_new: Final = object.__new__
BEATS: Final = 2


class Node:
    """One place in the tree and its service; the base class of every Service."""

    __slots__ = (
        "__weakref__",
        "_arguments_",
        "_history_",
        "_holdings_",
        "_incarnation_",
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
    _is_part_: ClassVar[bool]
    """Set in the own dict of a class that is but a part of `Service`, in a file of its own."""
    _user_slots_: ClassVar[tuple[Any, ...]] = ()
    _run_is_hook_: ClassVar[bool] = True
    _has_run_: ClassVar[bool] = False
    _has_ready_: ClassVar[bool] = False
    _prepares_: ClassVar[bool] = False
    """Something of the engine's own comes before its `on_start`."""
    _has_later_hooks_: ClassVar[bool] = False
    """It has hooks that run after `on_start`, and see what that has set."""
    _does_more_: ClassVar[int] = 0
    """Not 0: it has a `run`, or such hooks; `BEATS`: some of its services may have to beat."""
    _looked_at_: ClassVar[type | None] = None
    """Itself, once it has made a service."""
    _is_supervisor_: ClassVar[bool] = False
    _stops_together_: ClassVar[bool] = False
    """Children are stopped at the same time instead of one after another (otp-rules 46)."""
    _forgets_ended_: ClassVar[bool] = False
    """Children that end for good leave the tree, whatever their restart type."""
    _outlives_limit_: ClassVar[bool] = False
    """A child that is restarted too often is `failed`, and its parent lives on (`_has_lost_`)."""

    _arguments_: tuple[Any, ...] | Arguments
    """What its class was called with; see `arguments_of`."""
    _history_: History | None
    _holdings_: Holdings | Subscription | None
    _incarnation_: int
    _name_: str | None
    _op_: Operation | None
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
        cls._user_slots_ = tuple(slots_of(cls))
        # A flag of that name, or what a user's __getattr__ makes up, is no hook.
        cls._has_run_ = cls._run_is_hook_ and callable(getattr(cls, "run", None))
        cls._has_ready_ = cls.on_ready is not Node.on_ready
        cls._prepares_ = cls._prepare_ is not Node._prepare_
        says_goodbye = cls.on_stop is not Node.on_stop or cls.on_drain is not Node.on_drain
        cls._has_later_hooks_ = cls._has_ready_ or says_goodbye
        cls._does_more_ = cls._has_run_ or cls._has_later_hooks_
        if cls._class_policy_.heartbeat is not None:
            cls._does_more_ = BEATS

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the node before any ``__init__`` runs, which need not call this class's."""
        if cls._looked_at_ is not cls:
            cls._look_at_hooks_()
            cls._looked_at_ = cls
        self: Self = _new(cls)
        try:
            self._arguments_ = Arguments(args, kwargs) if kwargs else args
        except AttributeError:  # frozen, by a decorator: it came after the class was made
            let_engine_write(cls)
            remember_arguments(self, args, kwargs)
        self._state_ = NEW
        self._policy_ = cls._class_policy_
        self._incarnation_ = self._restarts_ = 0
        self._since_ = 0.0
        self._history_ = self._holdings_ = self._name_ = self._op_ = None
        self._parent_ = self._supervision_ = self._tree_ = None
        return self

    def __init__(self) -> None:
        """Take no arguments; subclasses take what they like."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a copy be a new service, made with the same arguments: a life is not copied."""
        args, kwargs = arguments_of(self)
        return functools.partial(type(self), *args, **kwargs), ()

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
        """Hook: take no new work, and see to the work there is. All of a stop's come first.

        Parents before children, who names another in ``needs`` before that, independent ones side
        by side; nothing below the service that is stopped ends before all of them are over.
        Meanwhile the service may acquire what it needs. May block, within the service's
        ``shutdown`` seconds, and a third of the stop's time. An exception is reported and the stop
        goes on. Does not run after a crash, nor where a group is restarted.
        """

    @hook
    def on_stop(self) -> None:
        """Hook: say goodbye. Runs after the children have stopped.

        The service's own greenlets, timers and listeners still live. Also runs after a
        crash, if `on_start` had returned. May block, within the ``shutdown`` seconds. An
        exception is reported and the stop goes on.
        """

    # -- for the engine ------------------------------------------------------------

    @property
    def _children_(self) -> dict[str, Node] | None:
        """By their names, in start order; None: it has adopted nobody in this life."""
        return None if self._supervision_ is None else self._supervision_.children

    def _prepare_(self) -> None:
        """Do what comes before `on_start` and must not depend on a user's super() call."""

    def _load_(self) -> tuple[int, int, int, int, int] | None:
        """Return how many items a pool has queued, running, done, poison, dropped."""
        return None

    def _ownership_(self) -> tuple[str | None, bool, int | None] | None:
        """Return who has what runs once, of several trees: see `Ownership`; None: it is not so."""
        return None

    def _pid_(self) -> int | None:
        """Return the process id of a program that runs."""
        return None

    def _has_lost_(self, child: Node, failure: Failure | None) -> None:
        """Take note that a child has been restarted too often."""

    def _check_room_(self) -> None:
        """Refuse one more child; called under the turn of a node that `_forgets_ended_`."""

    def _found_(self, tree: Tree) -> None:
        """Furnish the tree that the node is the root of."""

    def _ends_with_caller_(self) -> bool:
        """Whether the calling greenlet waits for the node's end in a way the engine cannot see."""
        return False


_set: Final = Node.__setattr__
_get: Final = Node.__getattribute__


class Tree:
    """The root, the pool of engine greenlets, and who watches."""

    figures: Any = None
    """What is counted in it, once somebody has asked for metrics; the engine has no use for it."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.thread = 0
        """The native thread it lives in; 0 while it does not live here."""
        self.process: int
        """The process it was started in last."""
        self.is_copy = False
        """It was forked while it lived, and this is the child."""
        self.hub: Hub
        self.pool: Pool
        self.attend: Callable[[Node], None]
        """Works through the inbox of a node, in a greenlet of the pool."""
        self.drive: Callable[[Any], None]
        """Carries out an end, in a greenlet of the pool."""
        self.observers: list[Callable[[Lifecycle], None]] = []
        """Called at once, in the engine's greenlet: they must not block."""
        self.hears_crash: Callable[[Node, int, str, BaseException], bool] | None = None
        """Hears of each crash before it is acted on, with the exception itself: which node, in
        which life, in what. Returns whether it is to be acted on: not in a forked child. Must not
        block, nor raise. None: nobody does."""
        self.also_called: tuple[str, ...] = ()
        """What the root is called beside its name, by its own code first: of one of several."""
        self.exit_code: int | None = None
        """The code of a SystemExit that a service has raised."""
        self.awaits_ready: bool
        """Services that have an `on_ready` have come up before the root has."""
        self.exit_seconds = math.inf
        """The budget of the stop that such a SystemExit begins."""
        self.pending_ends: dict[int, PendingOperation] = {}
        """By the identity of the service, which may be equal to others."""
        self.heartbeats: dict[int, Heartbeat] = {}
        """Likewise, of services that have to beat."""
        self.recycled: dict[int, tuple[Node, int]] = {}
        """By the identity of a parent: who was recycled there last, and which life of it ended."""
        self.report = StopReport()
        """What the last end of the root was like."""
        self.memories = Memories()
        """How much its services remember of their failures."""
        self.ledger = Ledger()
        """Why services were restarted, or not."""
        self.waits: Any = None
        """Who waits for whom (`life.needing`); None: nobody has yet."""
        self.bus: Any = None
        """Where its services meet; the engine has no use for it."""
        self.cluster: Any = None
        """What it shares with other trees, once somebody has asked for that; likewise."""
        self.holds: Holds | None = None
        """Whose exits wait undecided; None while nothing is held."""
        self.drainers: dict[int, dict[int, Node]] = {}
        """By the identity of a service: who drains at it and right below it, or further down."""
        self.providers: dict[str, Node] = {}
        """Services that any other finds by a name without a path."""


# -- what a node needs to supervise -----------------------------------------------------


Item = tuple[Node, int, "Reason | None", "Failure | None", bool | float]
"""What a supervisor is told of a child: which, in which of its lives, what that life ended of
(None: it has waited long enough for its next try), the failure, and whether it was a try to
restart it that has failed; or when it came, if something is held (`tree/held`). A plain tuple:
taking one apart costs a fifth of asking for names.
"""


class Supervision:
    """Made with the first child of an incarnation, or who looks for one; dropped with its end."""

    __slots__ = (
        "attended",
        "children",
        "groups",
        "inbox",
        "lineup",
        "names",
        "needed",
        "numbers",
        "path",
        "plain",
        "plain_name",
        "plain_policy",
        "turn",
        "window",
    )

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        """By their names, in start order."""
        self.path: str | None = None
        """Where it is in the tree, once it has adopted somebody; it stays there for a life."""
        self.names: tuple[str, ...] = ()
        """Whom the last ruling in the ledger covers."""
        self.turn = Turn()
        self.inbox: deque[Item] = deque()
        self.attended = False  # Invariant: a greenlet works through the inbox, or is about to
        self.window: RestartWindow | None = None
        self.groups: list[GroupRestart] = []
        """Restarts of several children together, under way or waiting for their next try."""
        self.needed: Any = None
        """Whom children need (`life.placing`), if one says what it needs: they are stopped in the
        order of that. None: nobody does."""
        self.lineup: Any = None
        """The children of its list, on their way up side by side; None: no such thing."""
        self.numbers: dict[str, int] = {}
        """The last one that was added to a name, by the name."""
        self.plain: type[Node] | None = None
        """The class of the last child that had no name, and nothing to do at its start: the next
        one takes the short way (`life.adopting`). None: there was none."""
        self.plain_name = ""
        """What that is called,"""
        self.plain_policy: Policy | None = None
        """and asks for."""


class GroupRestart:
    """One of them: under way, or waiting for the next try of the one that failed."""

    __slots__ = ("failed", "leader", "taken_out", "waiting")

    def __init__(self) -> None:
        self.failed: Node | None = None
        """Whose end it was that took the others along, the last time."""
        self.leader: Node | None = None
        """For whose next try the others wait; None while the restart is under way."""
        self.waiting: dict[int, Node] = {}
        """Who is still to be started, by id."""
        self.taken_out: dict[int, Node] = {}
        """Who was stopped on purpose meanwhile, by id."""

    def takes(self, child: Node) -> bool:
        """Whether *child* is still to be started; it is its turn now."""
        return self.waiting.pop(id(child), None) is not None

    def next_try(self, group: Collection[Node], children: Collection[Node]) -> Sequence[Node]:
        """Return whom the next try starts: *group*, and who else has waited for it.

        Args:
            group: Whom the strategy restarts with the one that failed.
            children: All children of their parent, in start order.
        """
        comes = {id(one) for one in group} | self.waiting.keys()
        out = self.taken_out
        return [
            one
            for one in children
            if id(one) in comes and not (id(one) in out and one._state_ in SETTLED)
        ]
