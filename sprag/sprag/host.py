"""Run a tree as a process: signals, control socket, exit code.

This is the only place of the library that touches what belongs to the process;
`App.run` and ``sprag run`` come here, embedded trees never do.
"""

from __future__ import annotations

import atexit
import gc
import logging
import math
import os
import signal
import sys
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, sleep

from sprag._defaults import SHUTDOWN_TIMEOUT
from sprag._exit_codes import ExitCode as ExitCode  # noqa: PLC0414 - re-exported
from sprag._native import this_thread
from sprag.process.below_parent import say_what_each_runs, share, tell_why_it_ended
from sprag.process.bounded_stop import BoundedStop
from sprag.process.deadman import write_stderr
from sprag.process.dump import write_dump
from sprag.process.embedded import serve_control as serve_control  # noqa: PLC0414 - re-exported
from sprag.process.foreground import Foreground
from sprag.process.hosting import forget, process_owned
from sprag.process.lifecycle_log import LifecycleLog
from sprag.process.log_queue import backlog, flush_logs
from sprag.process.outcome import outcome
from sprag.process.ownership import own_greenlets
from sprag.process.pid1 import go_below, wait_for_orphans
from sprag.process.said import (
    how_to_force,
    log,
    still_running,
    still_up,
    tell,
)
from sprag.process.sd_notify import Notifier, give_back, withdraw
from sprag.process.signals import Signals
from sprag.process.slow_starts import SlowStarts
from sprag.process.sockets import close as close_sockets
from sprag.process.sockets import sockets as sockets  # noqa: PLC0414 - re-exported
from sprag.process.systemd import Status
from sprag.process.watchdog import Watchdog, describe_holder
from sprag.process.worker import worker
from sprag.services.reloading import reload
from sprag.services.service import Service
from sprag_supervisor import (
    DOWN,
    Parking,
    Seconds,
    attribute_of,
    called,
    checked_name,
    clock,
    freeze,
    is_a,
    listening,
    must_be_able_to_wait,
    name_of,
    path_of,
    seconds_of,
    settled,
    tree_of,
    unfreeze,
)
from sprag_supervisor.exceptions import AlreadyStarted, BadValue, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from sprag.control.server import ControlSocket


def run(
    root: Service,
    *,
    name: str | None = None,
    shutdown_timeout: Seconds = SHUTDOWN_TIMEOUT,
    control: bool = True,
    on_up: Callable[[], None] | None = None,
    ends_process: bool = False,
    watchdog: Seconds | None = None,
    watchdog_exits: bool = False,
    drain_delay: Seconds = 0.0,
    ops: Any = None,
) -> int:
    """Start *root*, wait for a signal or its end, stop it; return the exit code.

    To be called in the main thread. SIGTERM and SIGINT stop the tree within *shutdown_timeout*
    seconds; a second one ends the process at once. After that time it ends even if a service
    never yields or blocks in C: the stacks go to stderr, the exit code is 4. SIGUSR1 writes the
    tree and all stacks to stderr. SIGHUP stops the tree, too, if the process has a controlling
    terminal now; else it reloads it (`Service.reload_tree`). An ignored SIGINT or SIGHUP stays
    ignored.

    Meanwhile every greenlet that a service's code starts belongs to it (`own_greenlets`),
    and systemd is told what it asks for (NOTIFY_SOCKET).

    An app with a cluster does not run as process 1: there the process is started anew, as the
    child of one that passes signals on.

    Args:
        root: The service to run: without a parent, and not started yet.
        name: Its name for the command line; None leaves it to the service.
        shutdown_timeout: Seconds for the whole stop; `math.inf` for no limit.
        control: Whether to serve the control socket.
        on_up: Called once the tree is up.
        ends_process: The process ends with this run. Signals stay handled, and what
            then keeps the interpreter from its end, such as threads that are no
            daemons, gets the rest of the *shutdown_timeout* and is cut off. Does not
            return when something of the tree was left behind. While the tree is up, Python's
            garbage collector is spared what there was when it came up (`gc.freeze`).
        watchdog: Report whoever holds the loop for this many seconds; None: do not watch.
        watchdog_exits: End the process then, with exit code 4.
        drain_delay: Seconds by which the stop begins later after a SIGTERM: the tree is not ready
            from then on, and goes on. Another signal begins it at once.
        ops: A socket that listens, on which ``/healthz`` and ``/readyz`` are answered from before
            the start until after the stop; None: nowhere. It is closed then.

    Returns:
        0 stopped as asked, 1 gave up, 3 never came up, 4 stopped with stragglers or over
        budget; or the code of a SystemExit in a service.

    Raises:
        AlreadyStarted: *root* runs already.
        BadValue: *root* is no service or has a parent, *name* is empty or has a slash, or
            *shutdown_timeout*, *watchdog* or *drain_delay* is no time.
        ValueError: This is not the main thread.
        CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
    """
    budget = seconds_of("shutdown_timeout", shutdown_timeout, 0.0, endless=True)
    hold = None if watchdog is None else seconds_of("watchdog", watchdog, also=", or None")
    delay = seconds_of("drain_delay", drain_delay, 0.0)
    if not is_a(root, Service):
        raise BadValue("root", root, f"an instance of a Service{called(root)}")
    must_be_able_to_wait(root, "run it")
    if root._parent_ is not None:
        raise BadValue("root", root, "a service that has no parent")
    if name is not None:
        name = checked_name(name)
    if root._state_ not in DOWN:
        raise AlreadyStarted(path_of(root))
    if attribute_of(root, "_cluster_") is not None:
        go_below()
    told = worker()
    if told is not None:
        tree_of(root).also_called = name or name_of(root), told.app
        root._name_, delay = told.path, 0.0  # its parent's tree has it there, and the parent waits
    elif name is not None:
        root._name_ = name
    dog = None if hold is None else Watchdog(hold, exits=watchdog_exits)
    host = _Host(root, budget, delay, on_up)
    return host.run(control=control, ends_process=ends_process, watchdog=dog, ops=ops)


class _Host:
    def __init__(
        self, root: Service, budget: float, delay: float, on_up: Callable[[], None] | None
    ) -> None:
        self._root = root
        self._budget = budget
        self._on_up = on_up
        self._parking = Parking()
        self._thread = this_thread()
        self._signals = Signals(
            self._parking,
            budget,
            self._last_words,
            self._dump,
            self._say_who_holds,
            delay=delay,
            reloads_at_terminal=root._reloads_at_terminal_,
        )
        self._tree = tree_of(root)
        self._status = Status(Notifier(), self._tree)
        own: Any = root
        if own._says_reloading_ is not None:
            own._says_reloading_ = self._status.reloading
        told = worker()
        self._lifecycle_log = LifecycleLog(self._tree, "" if told is None else told.path)
        self._control: ControlSocket | None = None
        self._foreground = Foreground(root, self._parking, self._signals)
        self._stop = BoundedStop(root, budget, self._signals, self._status, self._foreground)
        self._starting: Greenlet[[], None] | None = None
        self._start_error: BaseException | None = None
        self._freezes = False
        self._knows_the_end = False

    def run(
        self, *, control: bool, ends_process: bool, watchdog: Watchdog | None, ops: Any = None
    ) -> int:
        tree = self._tree
        self._freezes = ends_process and gc.isenabled()
        began = clock.now()
        with ExitStack() as stack:
            stack.enter_context(self._signals)
            withdraw()
            stack.callback(give_back)
            if control:
                self._open_control(stack)
            if ops is not None:
                self._open_ops(stack, ops)
            tree.exit_seconds = self._budget
            tree.observers.append(self._lifecycle_log)
            _hosts.append(self)
            try:
                with ExitStack() as life:
                    life.enter_context(process_owned())
                    life.callback(close_sockets)
                    wait_for_orphans()
                    share(tree, life)
                    life.enter_context(own_greenlets())
                    life.enter_context(self._status.told())
                    life.enter_context(SlowStarts(tree).told())
                    if self._freezes:
                        # The interpreter's own end looks once more for what is to be finalized.
                        life.callback(unfreeze)
                    if watchdog is not None:
                        life.enter_context(watchdog)
                    try:
                        self._live(began)
                    finally:
                        self._stop.bring_down(self._starting, for_good=self._is_the_end())
                        self._lifecycle_log.write()
                        self._tell_of_crashes()
                    code = self._exit_code()
            finally:
                if self._lifecycle_log in tree.observers:
                    tree.observers.remove(self._lifecycle_log)
                if self in _hosts:
                    _hosts.remove(self)
            if ends_process:
                self._stay_in_charge(stack, code)
        return code

    # -- up ------------------------------------------------------------------------

    def _live(self, began: float) -> None:
        """Bring the tree up and wait for its end, a signal, or what else ends it."""
        starting = self._starting = self._foreground.in_background(self._start)
        self._foreground.wait(lambda: starting.ready() or self._is_called_off())
        error = self._start_error
        if is_a(error, KeyboardInterrupt):
            self._signals.note(signal.SIGINT)
        elif error is not None and not is_a(error, StartFailed):
            raise error
        if error is None and not self._is_called_off():
            socket = None if self._control is None else str(self._control.path)
            log(logging.INFO, "up", seconds=round(clock.now() - began, 3), control=socket)
            self._status.up()
            if self._tree.cluster is not None:
                self._tree.cluster.read_soon()  # what was broadcast while it came up
                self._foreground.in_background(lambda: say_what_each_runs(self._tree))
            if self._on_up is not None:
                self._on_up()
            watching = self._foreground.in_background(lambda: Service.wait(self._root))
            self._wait_and_reload(lambda: watching.ready() or self._is_called_off())
            self._stay_for_now(watching.ready)
            watching.kill(block=False)

    def _wait_and_reload(self, over: Callable[[], bool]) -> None:
        """Wait for a condition, and reload meanwhile, one after another, as SIGHUPs ask for it."""
        reloading: Greenlet[[], Any] | None = None

        def is_due() -> bool:
            is_free = reloading is None or reloading.ready()
            return self._signals.reload_asked and is_free

        while not over():
            self._foreground.wait(lambda: over() or is_due() or self._signals.farewell_asked)
            if self._signals.farewell_asked:
                self._signals.farewell_asked = False
                self._knows_the_end = True
                self._root._will_stop_()
            if not over() and is_due():
                self._signals.reload_asked = False  # one that comes from now on asks again
                reloading = self._foreground.in_background(self._reload)

    def _stay_for_now(self, over: Callable[[], bool]) -> None:
        """Let the stop begin later: whoever sends us clients sees first that we are not ready."""
        signals = self._signals
        left = signals.begins_at - clock.now()
        if signals.received is None or left <= 0:
            return
        name, seconds = signals.received.name, round(left, 1)
        tell(logging.INFO, "the stop begins later", signal=name, seconds=seconds)
        self._status.will_stop(left + self._budget)
        self._root._will_stop_()
        self._foreground.wait(lambda: over() or clock.now() >= signals.begins_at, signals.begins_at)
        signals.received_at = clock.now()

    def _reload(self) -> None:
        if self._root._reloads_at_terminal_:
            # A shell that ends sends it to its jobs first, and only then the terminal is gone.
            sleep(_TO_HANG_UP)
            if self._signals.has_hung_up():
                self._signals.note(signal.SIGHUP)
                return
        says_it_itself = self._root._says_reloading_ is not None
        with nullcontext() if says_it_itself else self._status.reloading():
            reload(self._root, self._tree, self._root._reload_seconds_, signal="SIGHUP")

    def _start(self) -> None:
        if self._is_called_off():
            return
        try:
            Service.start(self._root)
            if self._freezes:
                freeze()  # before any on_ready has begun: there `gc.unfreeze()` opts out
        except BaseException as error:  # noqa: BLE001 - raised or reported in the main greenlet
            self._start_error = error

    def _is_called_off(self) -> bool:
        return self._signals.received is not None

    # -- down ----------------------------------------------------------------------

    def _is_the_end(self) -> bool:
        """Whether the parent of this worker has said that all is over, not its slot alone."""
        return self._knows_the_end or self._signals.farewell_asked

    def _exit_code(self) -> int:
        report = self._stop.report or self._tree.report
        ending = Service.wait(self._root, 0) if settled(self._root) else None
        code, summary = outcome(
            report,
            came_up=self._start_error is None or self._stop.signal is not None,
            was_ready=self._status.was_ready,
            asked=self._tree.exit_code,
            reason=None if ending is None else ending.reason,
            used_budget=self._stop.has_used_budget or report.seconds >= self._budget,
            over_budget=self._stop.is_over_budget,
        )
        self._status.ended(summary)
        if code != ExitCode.STOPPED:
            tell_why_it_ended(self._root, self._start_error, summary)
        bad = code != ExitCode.STOPPED and self._tree.exit_code is None
        tell(
            logging.ERROR if bad else logging.INFO,
            summary,
            why=self._why() if bad else None,
            seconds=round(report.seconds, 3),
            stragglers=report.stragglers or None,
            killed=report.killed or None,
            errors=report.errors or None,
            code=int(code),
        )
        return code

    def _why(self) -> str | None:
        """Return why it went wrong, unless that has been logged already."""
        if listening(logging.ERROR):
            return None
        history = self._root._history_
        if history is None or history.exit is None or history.exit.failure is None:
            return None
        return history.exit.failure.format()

    # -- the end of the process ------------------------------------------------------

    def _stay_in_charge(self, stack: ExitStack, code: int) -> None:
        """Keep the signals, and see to it that the process ends with *code*."""
        if self._control is not None:
            self._control.close()
        stack.pop_all()
        left, code_then = self._budget, code or ExitCode.NOT_CLEAN
        received = self._signals.received
        if received is not None and received is not self._stop.signal:
            left, code_then = 0.0, 128 + received  # it came after the end
        elif received is not None:
            left = max(self._signals.received_at + left - clock.now(), 0.0)
        self._signals.must_end(left + _LAST_GRACE, code_then, still_running)
        report = self._stop.report or self._tree.report
        if report.stragglers or self._stop.is_over_budget:
            # The interpreter's own end would meet what refused to die once more.
            with suppress(Exception):
                atexit._run_exitfuncs()
            flush_logs()
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(code)

    def _tell_of_crashes(self) -> None:
        """Let `on_crash` hear of what it was not told of yet, for a moment."""
        reports = attribute_of(self._root, "_reports_")
        if reports is not None and reports.waiting:
            until = clock.now() + _TO_TELL
            telling = self._foreground.in_background(lambda: reports.flush(_TO_TELL))
            self._foreground.wait(telling.ready, until)

    # -- the rest --------------------------------------------------------------------

    def _open_control(self, stack: ExitStack) -> None:
        from sprag.control.server import ControlSocket

        told = worker()
        if told is not None and told.control is None:
            return
        place = None if told is None or told.control is None else Path(told.control)
        socket = ControlSocket(self._root, backlog, place)
        try:
            socket.open()
        except OSError as error:
            tell(
                logging.WARNING,
                "no control socket: 'sprag tree' will not find this app",
                path=str(socket.path),
                reason=str(error),
            )
            return
        self._control = socket
        stack.callback(socket.close)

    def _open_ops(self, stack: ExitStack, listener: Any) -> None:
        from sprag.process.ops import OpsPort

        port = OpsPort(self._root, listener)
        port.open()
        stack.callback(port.close)

    def _dump(self, frame: FrameType | None) -> None:
        """Write down where everybody is. In a signal handler."""
        write_dump(self._root, frame, write_stderr)

    def _say_who_holds(self, number: int, left: float) -> str:
        """Say why nothing happens after the signal. From another thread."""
        who = describe_holder(sys._current_frames().get(self._thread))
        how = how_to_force(number) + ("" if left == math.inf else f", or it ends in {left:.0f} s")
        name = signal.Signals(number).name
        return f"{name}: the stop waits for {who}, which holds the loop\nsprag: {how}"

    def _last_words(self) -> str:
        """Remove the socket and say what is up: the process ends now. From any thread."""
        if self._control is not None:
            self._control.unlink()
        return still_up(self._root)


_hosts: Final[list[_Host]] = []


def _after_fork() -> None:
    """Let go of the control socket in a forked child: it would be open for longer than the app."""
    for host in _hosts:
        if host._control is not None:
            host._control.leave_to_parent()
    _hosts.clear()
    forget()


os.register_at_fork(after_in_child=_after_fork)

_TO_HANG_UP: Final = 0.2
"""Seconds after a SIGHUP in which the terminal may still go."""
_TO_TELL: Final = 0.5
"""Seconds in which `on_crash` may be told of the last crashes."""
_LAST_GRACE: Final = 0.3
"""Seconds that the interpreter gets for its end when the budget is used up."""
