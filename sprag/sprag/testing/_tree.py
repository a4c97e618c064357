"""Drive a tree in a test: crash it, hang it, make its starts fail, and read what happened."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

from gevent import GreenletExit
from gevent.event import Event

from sprag.services.service import Service
from sprag_supervisor import (
    Lifecycle,
    State,
    StopReport,
    as_count,
    called,
    is_a,
    report_crash,
    tree_of,
)
from sprag_supervisor.exceptions import BadValue, NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from sprag_supervisor import Seconds


class InjectedFailure(Exception):
    """What a test raises in a service when it names no exception of its own."""


class RunningTree:
    """A tree under test: started, driven by path, and stopped at the end of the block.

    For instance::

        with virtual_time() as clock, RunningTree(Supervisor(children=[Consumer()])) as tree:
            tree.crash("Consumer")
            clock.advance(30)
            assert tree.state("Consumer") is State.RUNNING

    Paths lead downwards from the root: ``"fleet/courier"``; the empty path is the root.

    Attributes:
        root: The service given.
        events: Every `Lifecycle` record of the tree so far, in order.
    """

    def __init__(self, root: Service) -> None:
        """Take *root*, which must not have been started."""
        self.root = root
        self.events: list[Lifecycle] = []
        self._releases: list[Callable[[], None]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the tree."""
        with ExitStack() as stack:
            self.events = stack.enter_context(record_events(self.root))
            self.root.start()
            stack.callback(self.root.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what hangs, and stop the tree."""
        while self._releases:
            self._releases.pop()()
        self._stack.close()

    def service(self, path: str = "") -> Any:
        """Return the service at *path*.

        Raises:
            UnknownService: There is none.
        """
        return self.root.service(path) if path else self.root

    def state(self, path: str = "") -> State:
        """Return the state of the service at *path*."""
        return cast("Service", self.service(path)).snapshot().state

    def events_of(self, path: str = "") -> list[str]:
        """Return the events of the service at *path*, each a word: started, crashed and so on."""
        full = cast("Service", self.service(path)).snapshot().path
        return [record.event for record in self.events if record.path == full]

    def crash(self, path: str = "", error: BaseException | None = None) -> None:
        """Make the service at *path* crash now, as if something it owns had raised *error*.

        Returns at once; let the clock settle to see what its supervisor does.

        Raises:
            NotRunning: It is not running.
        """
        service = cast("Service", self.service(path))
        picture = service.snapshot()
        if picture.state is not State.RUNNING:
            raise NotRunning(picture.path, picture.state.value, "crash it", "let it come up first")
        try:
            raise error or InjectedFailure(f"crash of {picture.path}")  # noqa: TRY301 - see below
        except BaseException as raised:  # noqa: BLE001 - with a traceback, as in life
            report_crash(service, picture.incarnation, "testing", raised)

    def hang(self, path: str = "") -> Callable[[], None]:
        """Give the service at *path* a greenlet that swallows every kill.

        It makes the service's stop use up its time and leaves a straggler, until the
        function returned is called; at the end of the block that happens by itself.

        Raises:
            NotRunning: The service is neither starting nor running.
        """
        released = Event()

        def stubborn() -> None:
            while not released.is_set():
                try:
                    released.wait()
                except GreenletExit:  # what a stubborn service does
                    continue

        cast("Service", self.service(path)).spawn(stubborn)
        self._releases.append(released.set)
        return released.set

    def unready(self, path: str = "", reason: str = "") -> None:
        """Let the service at *path* say that it is not ready, until it says that it is.

        Raises:
            NotRunning: It is neither starting nor running.
        """
        Service.set_ready(cast("Service", self.service(path)), False, reason)

    def fail_next_start(
        self, path: str = "", error: BaseException | None = None, *, times: int = 1
    ) -> None:
        """Make the next *times* starts of the service at *path* raise *error* in `on_start`.

        Raises:
            BadValue: *times* is not a whole number above 0.
        """
        service = cast("Service", self.service(path))
        fail_next_start(service, error, times=times)

    def stop(self, timeout: Seconds | None = None) -> StopReport:
        """Stop the whole tree; see `Service.stop`."""
        return self.root.stop(timeout)


def fail_next_start(
    service: Service, error: BaseException | None = None, *, times: int = 1
) -> None:
    """Make the next *times* starts of *service* raise *error* in `on_start`.

    Works before the service has a place in a tree, too.

    Raises:
        BadValue: *service* is none, or *times* is not a whole number above 0.
    """
    if not is_a(service, Service):
        raise BadValue("service", service, f"an instance of a Service{called(service)}")
    left = as_count(times)
    if left < 1:
        raise BadValue("times", times, "a whole number, 1 or more")
    original = type(service)

    def on_start(self: Service) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            self.__class__ = original
        raise error or InjectedFailure(f"start of {original.__name__}")

    # Hooks are looked up on the class, and a restart drops what is set on the object: so the
    # object becomes, for as long as it lasts, one of a class that cannot start.
    namespace = {
        "__slots__": (),
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "on_start": on_start,
    }
    service.__class__ = cast("type[Service]", type(original.__name__, (original,), namespace))


@contextmanager
def record_events(root: Service) -> Generator[list[Lifecycle]]:
    """Yield a list to which every `Lifecycle` record of the tree of *root* is added."""
    events: list[Lifecycle] = []
    observers = tree_of(root).observers
    keep = events.append
    observers.append(keep)
    try:
        yield events
    finally:
        if keep in observers:
            observers.remove(keep)
