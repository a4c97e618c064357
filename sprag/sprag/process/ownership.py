"""Greenlets that are born inside a service belong to it, whoever spawns them.

gevent lets a spawned greenlet outlive its spawner, so a library's bare
``gevent.spawn`` inside a service would leak at every restart. While `own_greenlets` is
in force, every Greenlet that is started by a service's code inherits its context
variables, ends with it, and its crash is the service's crash unless somebody looks at it.

The hook is gevent's, and process-wide: `sprag run` installs it, a program that embeds
sprag does when it wants to. What gevent's hub itself spawns cannot be attributed: a
StreamServer accepts in the hub, so give it ``spawn=self.spawn``.
"""

from __future__ import annotations

import contextvars
import sys
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from gevent import Greenlet, GreenletExit
from gevent.threadpool import ThreadPool
from greenlet import greenlet as raw_greenlet

from sprag.process import reporting
from sprag.process.looks import Look, is_mapped, iterators, lies_ready, links_of, look
from sprag_supervisor import (
    Holdings,
    Managed,
    Node,
    State,
    context_of,
    current_node,
    holdings_of,
    is_a,
    is_killers,
    meaning_of,
    stand_in,
    traceback_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import CodeType, FrameType, TracebackType

    from sprag.services.service import Service

_OWNED: Final = "_sprag_owned_"


@contextmanager
def own_greenlets() -> Generator[None]:
    """Let every greenlet that a service's code starts belong to that service.

    For instance::

        with own_greenlets(), Supervisor(children=[...]) as sup:
            ...

    Within the block a greenlet spawned by a service, or by a library on its behalf,
    sees the service's context variables (`current_service()` among them), is counted by
    ``sprag tree``, and is killed when the service ends. So does a `threading.Thread`, which is
    a greenlet where gevent has patched. Whose code starts it is told by the stack: the
    innermost method of a running service is that service's; with none, the greenlet, timer or
    listener that is running decides. Threads of an executor, or of a pool of multiprocessing's, are
    nobody's, and so are greenlets that no service has started, and those started before.

    An exception that ends such a greenlet is theirs who look at it at that moment: who wait
    in ``get()`` or ``joinall(raise_error=True)``, are linked to it, or are handed it by a
    Pool's ``map``. One that nobody looks at is the service's crash, logged once, and gevent
    does not print it. What ``kill(SomeError)`` threw in is the killer's.

    Blocks nest, and may be left in any order. As long as there is one, gevent throws into the
    main greenlet, where the tree is waited for, only what ends a program: SystemExit and
    KeyboardInterrupt. Other errors of the loop it prints, as always.
    """
    reporting.hold(_is_told_by_sprag)
    Greenlet.add_spawn_callback(_born)  # once, however often it is added
    try:
        yield
    finally:
        if reporting.release():
            Greenlet.remove_spawn_callback(_born)


def _born(greenlet: Any) -> None:
    """Give a greenlet that is being started to the service whose code starts it."""
    own = cast("dict[str, Any]", vars(greenlet))
    if is_a(greenlet, Managed) or _OWNED in own:
        return
    frame = sys._getframe(1)
    node = _whose(frame)
    if node is None or not _may_own(node) or cast("Any", node._tree_).hub is not greenlet.parent:
        return  # the last: in another thread that has copied the context
    holdings = holdings_of(node)
    body = _Body(greenlet, node, holdings, greenlet._run)
    body.is_mapped = is_mapped(frame)
    own[_OWNED] = own["_run"] = body
    own["_maybe_kill_before_start"] = body.killing
    greenlet.gr_context = context_of(node, contextvars.copy_context())
    holdings.add_greenlet(greenlet)


def _whose(frame: FrameType | None) -> Node | None:
    """Return the service whose code is running in *frame*, or None.

    Methods call each other across services, a provider's from a controller, say, and what one
    starts for its own use is its own. So the innermost method of a running service on the
    stack tells, as far as sprag's own code, which has noted whose code it calls. Executors and
    thread pools start their threads when they need one, in whatever greenlet that happens.
    """
    here = current_node()
    while frame is not None and not _is_ours(frame):
        code, caller = frame.f_code, frame.f_back
        if here is not None and caller is not None and _is_ours(caller) and _has(here, code):
            return here  # without a look at the locals, which Python before 3.13 keeps a copy of
        me: Any = None
        if code.co_argcount:
            me = frame.f_locals.get(code.co_varnames[0])
        elif "self" in code.co_freevars:
            me = frame.f_locals.get("self")
        if issubclass(type(me), Node) and _may_own(me):
            return cast("Node", me)
        if code is _ADJUST or issubclass(type(me), _executors()):
            return None
        frame = caller
    return here


def _is_ours(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return type(module) is str and module[:5] == "sprag" and module.split(".")[0] in _OURS


def _has(node: Node, code: CodeType) -> bool:
    """Whether *code* is that of a method of *node*."""
    for cls in type(node).__mro__:
        method = cls.__dict__.get(code.co_name)
        if method is not None:
            return type(method) is FunctionType and method.__code__ is code
    return False


def _executors() -> tuple[Any, ...]:
    """Return the classes of executors, and of multiprocessing's pools, that are imported."""
    loaded = sys.modules.get
    return (
        getattr(loaded("concurrent.futures"), "Executor", ()),
        getattr(loaded("multiprocessing.pool"), "Pool", ()),
    )


_OURS: Final = frozenset(("sprag", "sprag_supervisor"))
_ADJUST: Final = ThreadPool.adjust.__code__


def _may_own(node: Any) -> bool:
    tree = node._tree_
    return tree is not None and not tree.is_copy and node._state_ in _ALIVE


_ALIVE: Final = (State.RUNNING, State.STARTING, State.STOPPING)


def _is_told_by_sprag(context: object, error: BaseException) -> bool:
    """Whether gevent need not report *error*, with which *context* has just died."""
    body = vars(context).get(_OWNED) if issubclass(type(context), Greenlet) else None
    return type(body) is _Body and body.may_be_a_crash(error)


def _heard_by_gevent(error: BaseException) -> BaseException:
    """Return what gevent can be told of in the place of *error*, which is mostly that itself.

    It asks an exception for its class: where that raises, the greenlet never ends for those who
    wait for it.
    """
    try:
        isinstance(error, GreenletExit)
    except BaseException:  # noqa: BLE001 - the code of somebody else
        return stand_in(error)
    return error


class _Death(NamedTuple):
    """What a greenlet has died of."""

    error: BaseException
    heard: BaseException
    traceback: TracebackType | None
    """Of what is heard, when it left the greenlet's function."""
    iterators: list[Any]


class _Body:
    """What an owned greenlet runs instead of its function, which it passes for.

    Attributes:
        is_mapped: Whether the greenlet was spawned by a Pool's ``map``, which collects it.
    """

    __slots__ = (
        "_death",
        "_fn",
        "_greenlet",
        "_holdings",
        "_incarnation",
        "_links",
        "_node",
        "_thrown",
        "is_mapped",
    )

    def __init__(
        self, greenlet: Any, node: Node, holdings: Holdings, fn: Callable[..., object]
    ) -> None:
        self._greenlet: Any = greenlet  # until it ends
        self._node = node
        self._incarnation = node._incarnation_
        self._holdings = holdings
        self._fn = fn
        self._links = links_of(greenlet)
        self._thrown: object = None
        self._death: _Death | None = None
        self.is_mapped = False
        thread = self._thread()
        if thread is not None:
            thread._invoke_excepthook = partial(self._thread_raised, thread._invoke_excepthook)

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        died_of: BaseException | None = None
        try:
            try:
                return self._fn(*args, **kwargs)
            except GreenletExit:
                raise
            except BaseException as error:
                heard = _heard_by_gevent(error)
                if heard is error:
                    raise
                died_of = error
            raise heard  # noqa: TRY301 - where it gets a traceback, like any other
        except GreenletExit:
            raise
        except BaseException as heard:
            self._died(heard if died_of is None else died_of, heard)
            raise
        finally:
            del died_of  # what was raised keeps this frame
            self._leave()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fn, name)

    def __repr__(self) -> str:
        return repr(self._fn)

    def killing(self, exception: object) -> bool:
        """Stand in for gevent's own step of every kill, which is over if this has not begun."""
        greenlet = self._greenlet
        self._thrown = exception
        has_begun = greenlet.dead or raw_greenlet.__bool__(greenlet)
        if not has_begun and self._thread() is not None:
            return False  # who starts a thread waits until it has begun: it does, and dies then
        kind = cast("Any", type(greenlet))
        is_dead = bool(kind._maybe_kill_before_start(greenlet, exception))
        if is_dead:
            self._leave()
        return is_dead

    def may_be_a_crash(self, error: BaseException) -> bool:
        """Whether it has died of *error*, and nobody is known to look at that."""
        return self._death is not None and self._death.heard is error

    def _thread(self) -> Any:
        """Return the `threading.Thread` that the greenlet is, or None."""
        me = self._fn.__self__ if isinstance(self._fn, MethodType) else None
        threading: Any = sys.modules.get("threading")
        return me if threading and issubclass(type(me), threading.Thread) else None

    def _leave(self) -> None:
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            del greenlet._maybe_kill_before_start  # a cycle
            self._holdings.drop_greenlet(greenlet)

    def _died(self, error: BaseException, heard: BaseException) -> None:
        """Decide who is concerned by *error*: who is linked to the greenlet, or its service.

        They *hear* of something else in the place of an exception that gevent cannot look at.
        """
        if is_a(meaning_of(error), KeyboardInterrupt):
            self._death = _Death(error, heard, None, [])
            self._tell(error)
        elif not is_killers(error, self._thrown) and not self._is_seen(self._greenlet):
            self._death = _Death(error, heard, traceback_of(heard), iterators(self._links))
            self._greenlet.rawlink(self._judge)  # when all others have been notified

    def _is_seen(self, greenlet: Greenlet[..., Any]) -> bool:
        return self.is_mapped or look(greenlet, self._links) is Look.SOMEBODY

    def _judge(self, greenlet: Greenlet[..., Any]) -> None:
        # In the hub: only hand over. What gevent's own frame has added is one entry.
        assert self._death is not None
        (error, heard, traceback, iterators), self._death = self._death, None
        now = traceback_of(heard)
        was_raised_again = traceback not in (now, now and now.tb_next)
        if not (was_raised_again or lies_ready(greenlet, iterators) or self._is_seen(greenlet)):
            self._tell(error)

    def _thread_raised(self, excepthook: Callable[[Any], object], thread: object) -> None:
        """Stand in for what a Thread calls with what has left its `run`."""
        error = sys.exc_info()[1]
        if error is None or issubclass(type(error), GreenletExit):
            return
        is_thrown = is_killers(error, self._thrown)
        threading: Any = sys.modules["threading"]
        if is_thrown or threading.excepthook is not threading.__excepthook__:
            excepthook(thread)  # somebody wants to hear of every one
        if not is_thrown and not issubclass(type(error), SystemExit):  # which ends the thread only
            self._tell(error, "thread")

    def _tell(self, error: BaseException, step: str = "greenlet") -> None:
        node, incarnation, tree = cast("Service", self._node), self._incarnation, self._node._tree_
        if tree is not None:
            tree.pool.launch(lambda: node._greenlet_raised_(incarnation, step, error))
