"""A frozen picture of a subtree, taken at any time and without blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sprag_supervisor.foreign import class_name
from sprag_supervisor.loop import clock
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.group import next_try_of
from sprag_supervisor.tree.held import hold_of
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.moves import is_draining
from sprag_supervisor.tree.names import name_of, path_of
from sprag_supervisor.tree.node import Node
from sprag_supervisor.tree.stragglers import stragglers_of
from sprag_supervisor.views.because import why_down

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor.facts.because import Because
    from sprag_supervisor.facts.failure import Failure
    from sprag_supervisor.facts.hold import Hold
    from sprag_supervisor.facts.straggler import Straggler
    from sprag_supervisor.loop.calls import Work
    from sprag_supervisor.rules.policy import Policy
    from sprag_supervisor.rules.states import State


class Owned(NamedTuple):
    """How much a service holds at the moment."""

    greenlets: int = 0
    timers: int = 0
    listeners: int = 0
    cleanups: int = 0
    tasks: int = 0


class Items(NamedTuple):
    """The items of a pool of workers: how many there are, and what became of the others."""

    queued: int
    running: int
    done: int
    poison: int
    dropped: int


class Ownership(NamedTuple):
    """Who has the right to run what runs once, of several trees, as it was seen here last.

    Attributes:
        node: What that one is called; None: nobody has it, or nobody is called anything.
        here: Whether that is this tree.
        token: Of its lease, or of the last; None: not known.
    """

    node: str | None
    here: bool
    token: int | None


_NOTHING = Owned()
_ONE_LISTENER = Owned(listeners=1)


class Snapshot(NamedTuple):
    """One service as it was when the picture was taken, and its children.

    Attributes:
        name: Its name below its parent.
        path: The names from the root down, joined by slashes.
        class_name: Its class.
        kind: "worker" or "supervisor".
        state: Where in its life it is.
        incarnation: How often it has been started, by whomever.
        restarts: How often it was restarted automatically, group restarts included.
        uptime: Seconds since it came up; None while it is down.
        started_at: When it came up, in seconds since the epoch; None while it is down.
        ended_at: When it went down, likewise; None while it is up or new.
        policy: What it asks for, with what `adopt` was given.
        owned: What it holds.
        failures: Its last crashes, the latest last.
        next_try: Seconds until its next start, while it waits for its backoff, or for that of
            the sibling that it is restarted with.
        stragglers: What earlier lives have left behind, because it has swallowed its kill.
        children: In start order.
        unready: Why others are not to count on it yet although it runs, "" for no reason given;
            None: they may, or it does not run.
        status: What it is at, in its own words; None if it has said nothing.
        items: What a pool of workers has to do, and has done in this life; None for others.
        held: What holds it, so that nobody decides about its exits; None: nothing does.
        draining: It is stopping, and still works: it and all that end with it drain first.
        waits_for: The siblings that it needs and waits for, by name.
        pid: The process id of a program that runs; None of what is none.
        because: Why it is down; None: it is not, or was never started.
        ownership: Of what runs once, of several trees: who has it; None for all else.
    """

    name: str
    path: str
    class_name: str
    kind: str
    state: State
    incarnation: int
    restarts: int
    uptime: float | None
    started_at: float | None
    ended_at: float | None
    policy: Policy
    owned: Owned
    failures: tuple[Failure, ...]
    next_try: float | None
    stragglers: tuple[Straggler, ...]
    children: tuple[Snapshot, ...]
    unready: str | None = None
    status: str | None = None
    items: Items | None = None
    held: Hold | None = None
    draining: bool = False
    waits_for: tuple[str, ...] = ()
    pid: int | None = None
    because: Because | None = None
    ownership: Ownership | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and others may count on it; not on one that is held itself."""
        is_held = self.held is not None and self.held.path == self.path
        return self.state is RUNNING and self.unready is None and not is_held

    @property
    def last_failure(self) -> Failure | None:
        """The latest crash that is remembered."""
        return self.failures[-1] if self.failures else None


def snapshot(root: Node, pause: Callable[[], object] | None = None) -> Snapshot:
    """Take a picture of *root* and everything below it.

    Args:
        root: Where to begin.
        pause: Called after every 50 services, to let others run; the picture is
            then of a tree that may change meanwhile. Without it, it is of one moment.
    """
    now, wall = clock.now(), clock.wall()
    left = _AT_ONCE
    looks: dict[int, tuple[str, str, type[Node]] | None] = {}
    # A loop over the way down: no depth of tree meets the recursion limit.
    way = [_Half(root, path_of(root))]
    while True:
        half = way[-1]
        node = next(half.rest, None)
        if node is not None:
            name = node._name_ or name_of(node)
            path = f"{half.path}/{name}"
            if node._supervision_ is not None and node._children_:
                way.append(_Half(node, path))
                continue
            half.pictures.append(_leaf(node, name, path, now, wall, looks))
        else:
            way.pop()
            picture = _picture(half.node, half.path, tuple(half.pictures), now, wall)
            if not way:
                return picture
            way[-1].pictures.append(picture)
        left -= 1
        if pause is not None and not left:
            pause()
            left = _AT_ONCE
            now, wall = clock.now(), clock.wall()


class _Half:
    """A service of which not all children are pictured yet."""

    __slots__ = ("node", "path", "pictures", "rest")

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.pictures: list[Snapshot] = []
        self.rest = iter(tuple((node._children_ or {}).values()))


def walk(root: Node) -> Iterator[tuple[int, str, Node]]:
    """Yield depth, path and node of everything at and below *root*, parents before children.

    The tree may change meanwhile: it is looked at step by step. Nothing is kept but the way
    down, so that a walk over 100,000 services gives the garbage collector no reason to look
    at all of them.
    """
    yield 0, path_of(root), root
    way = [(path_of(root), iter(tuple((root._children_ or {}).values())))]
    while way:
        above, rest = way[-1]
        node = next(rest, None)
        if node is None:
            way.pop()
            continue
        path = f"{above}/{name_of(node)}"
        yield len(way), path, node
        if node._children_:
            way.append((path, iter(tuple(node._children_.values()))))


def pictures(root: Node) -> Iterator[tuple[int, Snapshot]]:
    """Yield depth and picture of everything at and below *root*, each without its children.

    As `walk` goes: each service is pictured when its turn comes.
    """
    for depth, path, node in walk(root):
        yield depth, _picture(node, path, (), clock.now(), clock.wall())


def picture(node: Node) -> Snapshot:
    """Take a picture of *node* alone, without its children."""
    return _picture(node, path_of(node), (), clock.now(), clock.wall())


_AT_ONCE: Final = 50
"""Services pictured between two pauses.

gevent comes back from a sleep of 0 seconds up to fifty times before it looks at timers.
"""


def _leaf(  # noqa: PLR0917 - by keyword a call is twice as dear
    node: Node,
    name: str,
    path: str,
    now: float,
    wall: float,
    looks: dict[int, tuple[str, str, type[Node]] | None],
) -> Snapshot:
    """Take the picture of a service without children; *looks* has what is known of classes.

    Most of many run, have never crashed and hold at most a listener: what `_picture` would find of
    those is known. tests/sprag/test_pictures.py compares the two.
    """
    kind = type(node)
    try:
        look = looks[id(kind)]  # its hash, and what it is equal to, are its metaclass's
    except KeyError:
        look = looks[id(kind)] = _look_of(kind)
    tree, holdings = node._tree_, node._holdings_
    if (
        look is None
        or node._state_ is not RUNNING
        or node._history_ is not None
        or type(holdings) is Holdings
        or tree is None
        or tree.holds is not None
    ):
        return _picture(node, path, (), now, wall)
    named, worker, _ = look
    up = now - node._since_
    return _row(
        Snapshot,
        (  # noqa: RUF005 - unpacked, it would be a list first
            name,
            path,
            named,
            worker,
            RUNNING,
            node._incarnation_,
            node._restarts_,
            up,
            wall - up,
            None,
            node._policy_,
            _NOTHING if holdings is None else _ONE_LISTENER,
            (),
            None,
            (),
            (),
        )
        + _AS_MOST,
    )


def _look_of(kind: type[Node]) -> tuple[str, str, type[Node]] | None:
    """Return the name and the kind of a class, and that; None: its services tell more."""
    if (
        kind._load_ is not Node._load_
        or kind._pid_ is not Node._pid_
        or kind._ownership_ is not Node._ownership_
    ):
        return None
    return class_name(kind), "supervisor" if kind._is_supervisor_ else "worker", kind


_AS_MOST: Final = (None, None, None, None, False, (), None, None, None)
"""What most tell from `unready` on."""
_row: Final[Callable[[type[Snapshot], tuple[object, ...]], Snapshot]] = cast("Any", tuple).__new__
"""Make a picture of what is in it: `Snapshot` itself takes as long as all the rest."""


def _picture(
    node: Node, path: str, children: tuple[Snapshot, ...], now: float, wall: float
) -> Snapshot:
    uptime = uptime_of(node)
    down = node._incarnation_ > 0 and uptime is None and node._op_ is None
    history = node._history_
    next_try = next_try_of(node)
    return Snapshot(
        name_of(node),
        path,
        class_name(type(node)),
        "supervisor" if node._is_supervisor_ else "worker",
        node._state_,
        node._incarnation_,
        node._restarts_,
        uptime,
        None if uptime is None else wall - uptime,
        wall - (now - node._since_) if down else None,
        node._policy_,
        owned_by(node),
        () if history is None else history.failures,
        None if next_try is None else max(next_try - now, 0.0),
        () if history is None else stragglers_of(node),
        children,
        unready(node),
        status_of(node),
        None if (load := node._load_()) is None else Items(*load),
        None if node._tree_ is None or node._tree_.holds is None else hold_of(node, path),
        is_draining(node),
        () if history is None else tuple(history.waits_for),
        node._pid_(),
        None if node._state_ is RUNNING else why_down(node, path),
        None if (owned := node._ownership_()) is None else Ownership(*owned),
    )


def status_of(node: Node) -> str | None:
    """Return what *node* says that it is at; None: nothing."""
    holdings = node._holdings_
    return holdings.status if type(holdings) is Holdings else None


def unready(node: Node) -> str | None:
    """Return why others are not to count on *node*, which runs; None: they may."""
    holdings = node._holdings_
    if type(holdings) is Holdings and node._state_ is RUNNING:
        return holdings.unready
    return None


def owned_by(node: Node) -> Owned:
    """Count what the node holds."""
    holdings = node._holdings_
    if holdings is None:
        return _NOTHING
    if type(holdings) is not Holdings:
        return _ONE_LISTENER
    calls = tasks = 0
    for call in holdings.calls or ():
        if call.is_work:
            tasks += cast("Work", call).tasks
        else:
            calls += 1
    return Owned(
        len(holdings.greenlets or ()) + calls,
        len(holdings.timers or ()),
        len(holdings.subscriptions or ()),
        len(holdings.cleanups or ()),
        tasks,
    )


def uptime_of(node: Node) -> float | None:
    """Return the seconds since the node came up, or None while it is down."""
    if node._state_ is RUNNING:
        return clock.now() - node._since_
    return None
