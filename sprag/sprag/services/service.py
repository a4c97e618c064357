"""The Service: what users write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast, overload

from sprag._defaults import RELOAD_TIMEOUT
from sprag.owned import threads
from sprag.owned.bus import EventBus, runs_within
from sprag.owned.log import bound_logger
from sprag.services import stopping
from sprag.services.acquiring import Acquiring, check
from sprag.services.declaring import Declaring
from sprag.services.finding import found_by
from sprag.services.kinds import of_kind
from sprag.services.operating import Operating
from sprag.services.publishing import Publishing
from sprag.services.reloading import Reloading
from sprag.services.timing import Timing
from sprag_supervisor import (
    RUNNING,
    Exit,
    Node,
    Seconds,
    Snapshot,
    StopReport,
    Tree,
    current_node,
    must_be_able_to_wait,
    must_be_at_home,
    path_of,
    report_crash,
    set_ready,
    snapshot,
    start_again,
    start_root,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from types import TracebackType

    from structlog.stdlib import BoundLogger

    from sprag.cluster.claim import Lease

ServiceT = TypeVar("ServiceT", bound="Service")
KindT = TypeVar("KindT")


def current_service() -> Service | None:
    """Return the service whose code is running, or None outside of any.

    Hooks, timer calls, listeners and owned greenlets see their service; context
    variables carry it into them.
    """
    return cast("Service | None", current_node())


class _Log:
    """`Service.log`, made when asked for; a user's own attribute of that name wins."""

    def __get__(self, service: Service | None, _owner: type) -> BoundLogger:
        if service is None:
            return cast("BoundLogger", self)  # for documentation tools
        return bound_logger(path_of(service), service._incarnation_)


class _Lease:
    """`Service.lease`; a user's own attribute of that name wins."""

    def __get__(self, service: Service | None, _owner: type) -> Lease | None:
        node: Node | None = service
        while node is not None:
            if node._outlives_limit_:
                return cast("Service", node)._lease_
            node = node._parent_
        return None


class Service(Acquiring, Publishing, Declaring, Timing, Operating, Reloading):
    """A long-lived object with a managed life: subclass it and define hooks.

    Policy is given as class keywords (``class Feed(Service, restart="transient")``);
    a wrong one raises BadPolicy when the class is made:

    - ``restart``: what my parent does when I end: ``"permanent"`` (default) restarts
      me always, ``"transient"`` only after a failure, ``"temporary"`` never.
    - ``shutdown``: seconds that my own stop steps may take (5.0), ``"brutal_kill"`` to
      skip `on_drain` and `on_stop`, ``"infinity"`` for no limit.
    - ``start_timeout``: seconds that `on_start` may take, None (default) for no limit.
    - ``backoff``: a `Backoff` for the delay before my restarts, None (default) for none.
    - ``retry_start``: a first start of mine that fails leaves me ``restarting``, and is tried
      again, instead of failing my parent's start (False).
    - ``autostart``: with False I am placed as ``stopped``, and started by hand, or by whoever
      needs me (True).
    - ``heartbeat``: seconds within which I have to call `beat` as long as I am ready, None
      (default) for never; else I crash.
    - ``significant``: my end may end my parent, see ``auto_shutdown``.
    - ``strategy``: whom I restart when one of my children fails: ``"one_for_one"``
      (default) the child, ``"one_for_all"`` all, ``"rest_for_one"`` it and those after it.
    - ``max_restarts``, ``max_seconds``: with more than 3 restarts within 5.0 seconds I
      give up, which is a failure my own parent sees; `math.inf` for no limit.
    - ``auto_shutdown``: ``"never"`` (default), ``"any_significant"`` or
      ``"all_significant"``: I end cleanly when my significant children end by themselves.

    - ``on_failure``: what an exception means, by its class: ``{ConfigError: "escalate",
      Conflict: "stop", OSError: "restart"}``. ``"restart"`` restarts me even if I am
      transient or temporary, a `Backoff` does so after its delay, ``"finish"`` is as if I had
      called `finish`, ``"stop"`` restarts me never, ``"escalate"`` makes my parent give up at
      once, and `ExitApp` ends the app with its exit code, as a SystemExit raised there. The
      nearest class in the exception's ancestry decides; without one, ``restart`` does. It
      applies to crashes and to restarts that fail, `ExitApp` to each start.
    - ``needs``: names of siblings that I start after: as soon as they are ready, or, in a dict
      by name, ``"started"`` or ``"finished"``. Under a ``"rest_for_one"`` parent I am restarted
      with those only. None (default): all before me in the list; ``()``: nobody.

    A restarted service is the same object in its first state: all it held is released,
    its attributes are dropped, and ``__init__`` runs again with the same arguments.
    ``super().__init__()`` need not be called.

    Define ``run(self)`` for a body that runs as long as the service does, in a greenlet
    of its own after `on_start`: returning means finished, raising means crashed.
    """

    __slots__ = ()

    _keeps_slots_ = True
    if not TYPE_CHECKING:
        __init__ = Node.__init__  # else the signature would be that of `__new__`
    _exit_seconds_: ClassVar[float | None] = None
    """How long a stop at the end of a ``with`` block may take."""

    @overload
    def service(self, name: str) -> Any: ...
    @overload
    def service(self, name: str, kind: type[KindT]) -> KindT: ...
    def service(self, name: str, kind: type[Any] | None = None) -> Any:
        """Return a provider of this tree by its name, or a service by its path.

        Args:
            name: A key of the app's providers, or names from the root's children
                downwards, joined by slashes: ``"fleet/courier"``; with the root's own name
                in front as well, as in logs. The command line finds the same.
            kind: The class that it must be of; a type checker knows then what is returned.

        Raises:
            NotRunning: The service has never been part of a tree.
            UnknownService: There is none. The providers are listed.
            WrongKind: There is one, of another class.
            BadValue: *name* is no text, or *kind* no class.
        """
        return of_kind(kind, name, found_by(self, name))

    def call_from_thread(self, fn: Callable[..., object], *args: Any) -> None:
        """Run ``fn(*args)`` in a greenlet of the service; callable from any native thread.

        The way in for callbacks that come in a thread of somebody else's: every other method
        raises `WrongThread` there. Does not wait, and returns nothing; *fn* may use the
        service as its own code does, and an exception in it is the service's crash. Calls of
        one thread begin in their order. If the service does not run when its turn comes,
        the call is dropped, with a warning in the log.

        Raises:
            NotRunning: The service has never been part of a tree.
            AfterFork: The service runs in the process that this one was forked from.
            BadValue: *fn* is not callable, or is an `async def` or a generator function.
        """
        check(fn)
        threads.call(self, fn, args)

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service: as the root of a tree, or again below its parent.

        Blocks until `on_start` has returned, and before that until a stop is over that is
        pending or in progress. A service that ran before comes back in its first state.

        Raises:
            StartFailed: It, or something it adopts, could not be started.
            AlreadyStarted: It runs, or is about to; or it is stopping, and the caller would end
                with it, or is what the stop waits for.
            ChildRestarting: Its parent is restarting it already.
            NotRunning: Its parent does not run, or it is a provider whose turn comes later.
            WouldDeadlock: Its parent waits for the very hook that makes this call.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        must_be_able_to_wait(self, "start it")
        if self._parent_ is None:
            start_root(self)
        else:
            start_again(self)

    def stop(self, timeout: Seconds | None = None) -> StopReport:
        """Stop the service and everything below it, on purpose: nobody restarts it.

        Children stop before their parents, the latest first. Blocks until all are down or
        what would not die is named. Stopping something that does not run does nothing.
        Several stops at once join one stop. From inside the service or its subtree the
        stop is carried out after the caller has returned to the loop, and this returns a
        report that `is_pending` at once: also from a listener, if what waits in this greenlet
        for its listeners would end. So it does in the hub, where nothing can wait, and where
        the stop itself waits for the caller: two services that stop each other in their
        `on_stop`.

        Args:
            timeout: Seconds for the whole subtree, after which everything left is killed;
                None leaves it at each service's own ``shutdown``.

        Returns:
            What was clean, killed, and left behind.

        Raises:
            BadValue: *timeout* is negative, or no time.
        """
        return stopping.stop(self, timeout)

    def __enter__(self) -> Self:
        """Start, and stop at the end of the block."""
        Service.start(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tree_ is None or not self._tree_.is_copy:  # else a forked child leaves the block
            Service.stop(self, self._exit_seconds_)

    def finish(self) -> None:
        """End cleanly by yourself: "I am done", OTP's normal exit.

        The restart type applies: a permanent service comes back, a transient one stays
        finished, a temporary one leaves the tree. Does not block; from inside the service,
        and from the hub, it is carried out after the caller has returned to the loop.

        Raises:
            NotRunning: The service is neither starting nor running.
        """
        stopping.finish(self)

    def wait(self, timeout: Seconds | None = None) -> Exit | None:
        """Wait until the service has ended for good: stopped, finished or failed.

        Args:
            timeout: Seconds; 0: not at all. None waits as long as it takes.

        Returns:
            How it ended, or None when it has not within *timeout*.

        Raises:
            NotRunning: It was never started.
            BadValue: *timeout* is no time.
            CalledInHub: It has not ended, *timeout* is not 0, and the caller is a callback of
                the loop or a signal handler in the hub.
        """
        return stopping.wait(self, timeout)

    def snapshot(self, pause: Callable[[], object] | None = None) -> Snapshot:
        """Return a frozen picture of this service and everything below it, at any time.

        Nothing else runs meanwhile, for less than a microsecond a service where most just run.

        Args:
            pause: Called after every 50 services; ``gevent.sleep`` lets others run. The
                picture is then of a tree that may change while it is taken.
        """
        must_be_at_home(self)
        return snapshot(self, pause)

    log = _Log()
    """A structlog logger bound to the service's path and incarnation.

    It writes to stdlib logging under ``sprag.service``, which `sprag run` configures. Where
    nobody has, warnings and errors go to stderr, as from any library.
    """

    lease = _Lease()
    """What allows a service below a `Singleton` to run: its ``token`` rises with each owner.

    None where it stands by, and where there is no `Singleton` above."""

    _lease_: Lease | None = None

    def __repr__(self) -> str:
        state = self._state_.value
        return f"<{type(self).__name__} {path_of(self)!r} {state} #{self._incarnation_}>"

    # -- for the engine ------------------------------------------------------------------

    def _sized_(self) -> tuple[str, int] | None:
        """Return what it has any number of, and how many: of a pool, say, workers."""
        return None

    def _resize_(self, size: int) -> None:
        """Have so many of them; of what is `_sized_`."""
        raise NotImplementedError

    _reloads_at_terminal_: ClassVar[bool] = False
    """Of a root: a SIGHUP is no stop as long as its terminal is there."""
    _reload_seconds_: ClassVar[float | None] = RELOAD_TIMEOUT
    """Of a root: for how long it reloads at a SIGHUP."""

    _says_reloading_: Callable[[], AbstractContextManager[None]] | None = None
    """Of a root that says itself when it reloads, not only at a SIGHUP: how. The host sets it."""

    def _will_stop_(self) -> None:
        """Be ready for nobody any more, as the stop of all will come; go on all the same."""
        if self._state_ is RUNNING:
            set_ready(self, ready=False, reason="it will stop in a moment (--drain-delay)")

    def _serves_(self, missing: Collection[str]) -> bool:
        """Return whether clients may be sent here although *missing* paths are not ready."""
        return not missing

    def _renewal_(self) -> Callable[[str], object] | None:
        """Return what restarts it by hand, for a reason, where that is no stop and start."""
        return None

    def _found_(self, tree: Tree) -> None:
        tree.bus = EventBus()

    def _ends_with_caller_(self) -> bool:
        return runs_within(self)

    def _greenlet_raised_(self, incarnation: int, step: str, error: BaseException) -> None:
        """Act on what a bare greenlet or a thread raised that was born inside the service."""
        report_crash(self, incarnation, step, error)
