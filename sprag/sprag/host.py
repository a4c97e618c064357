"""Run a tree as a process: signals, control socket, exit code.

This is the only place of the library that touches what belongs to the process;
`App.run` and ``sprag run`` come here, embedded trees never do.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING

from gevent import Greenlet

from sprag._signals import Signals
from sprag_supervisor import Lifecycle, Reason, StopReport, _clock
from sprag_supervisor._log import listening, say
from sprag_supervisor._node import Node, path_of
from sprag_supervisor._pool import Parking
from sprag_supervisor._states import DOWN
from sprag_supervisor._supervising import tree_of
from sprag_supervisor._tree import logger
from sprag_supervisor.exceptions import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag._control import ControlSocket
    from sprag._service import Service


class ExitCode(enum.IntEnum):
    """What the process ends with."""

    STOPPED = 0
    """Stopped as asked, or finished by itself."""
    GAVE_UP = 1
    NEVER_CAME_UP = 3
    NOT_CLEAN = 4
    """Stopped, but with stragglers or over budget."""


def run(
    root: Service,
    *,
    name: str | None = None,
    shutdown_timeout: float = 30.0,
    control: bool = True,
    on_up: Callable[[], None] | None = None,
) -> int:
    """Start *root*, wait for a signal or its end, stop it; return the exit code.

    To be called in the main greenlet of the main thread. SIGTERM and SIGINT stop the
    tree within *shutdown_timeout* seconds; a second one ends the process at once.

    Args:
        root: The service to run, not started yet.
        name: Its name for the command line; None leaves it to the service.
        shutdown_timeout: Seconds for the whole stop.
        control: Whether to serve the control socket.
        on_up: Called once the tree is up.

    Returns:
        0 stopped as asked, 1 gave up, 3 never came up, 4 stopped with stragglers or over
        budget; or the code of a SystemExit in a service.
    """
    if name is not None:
        root._name_ = name
    return _Host(root, shutdown_timeout, on_up).run(control=control)


class _Host:
    def __init__(self, root: Service, budget: float, on_up: Callable[[], None] | None) -> None:
        self._root = root
        self._budget = budget
        self._on_up = on_up
        self._parking = Parking()
        self._signals = Signals(self._parking, budget, self._still_up)
        self._tree = tree_of(root)
        self._start_error: BaseException | None = None
        self._report: StopReport | None = None

    def run(self, *, control: bool) -> int:
        with self._signals:
            socket = self._open_control() if control else None
            try:
                self._live()
                return self._exit_code()
            finally:
                if socket is not None:
                    socket.close()

    def _live(self) -> None:
        root = self._root
        self._tree.exit_seconds = self._budget
        self._tree.observers.append(_log_lifecycle)
        starting = Greenlet.spawn(self._start)
        starting.rawlink(lambda _: self._parking.poke())
        while not starting.ready() and self._signals.received is None:
            self._parking.park()
        if self._start_error is not None and not isinstance(self._start_error, StartFailed):
            raise self._start_error
        if self._signals.received is None and self._start_error is None:
            if self._on_up is not None:
                self._on_up()
            watching = Greenlet.spawn(self._watch_end)
            while self._signals.received is None and not watching.ready():
                self._parking.park()
            watching.kill(block=False)
        if self._signals.received is not None:
            logger.info(
                "stopping",
                extra={
                    "sprag": {
                        "signal": self._signals.received.name,
                        "seconds": self._budget,
                        "hint": "once more to end at once",
                    }
                },
            )
            began = _clock.now()
            self._report = root.stop(self._budget)
            starting.join(max(began + self._budget - _clock.now(), 0.0))

    def _start(self) -> None:
        try:
            self._root.start()
        except BaseException as error:  # noqa: BLE001 - raised or reported in the main greenlet
            self._start_error = error

    def _watch_end(self) -> None:
        self._root.wait()
        self._parking.poke()

    def _exit_code(self) -> int:
        root = self._root
        report = self._report or self._tree.report
        if report.stragglers or report.seconds > self._budget:
            say(logging.ERROR, root, "stopped, but not clean", stragglers=report.stragglers)
            return ExitCode.NOT_CLEAN
        if self._start_error is not None and self._signals.received is None:
            code = self._tree.exit_code
            return ExitCode.NEVER_CAME_UP if code is None else code
        ending = root.wait(0)
        if ending is None or ending.code is not None:
            return ExitCode.STOPPED if ending is None else ending.code or 0
        if ending.reason in (Reason.CRASHED, Reason.GAVE_UP):
            return ExitCode.GAVE_UP
        return ExitCode.STOPPED

    def _open_control(self) -> ControlSocket | None:
        from sprag._control import ControlSocket  # noqa: PLC0415 - loads a web server

        socket = ControlSocket(self._root)
        try:
            socket.open()
        except OSError as error:
            logger.warning(
                "no control socket: 'sprag tree' will not find this app",
                extra={"sprag": {"path": str(socket.path), "reason": str(error)}},
            )
            return None
        return socket

    def _still_up(self) -> str:
        up: list[str] = []
        stack: list[Node] = [self._root]
        while stack and len(up) < _LISTED:
            node = stack.pop()
            if node._state_ not in DOWN:
                up.append(f"{path_of(node)} ({node._state_.value})")
            stack.extend(reversed((node._children_ or {}).values()))
        return ", ".join(up) + " still up" if up else "nothing still up"


_LISTED = 10


def _log_lifecycle(record: Lifecycle) -> None:
    if record.event in ("crashed", "gave_up") or not listening(logging.INFO):
        return  # the engine has logged those, with the traceback
    logger.info(
        "service %s",
        record.event,
        extra={"sprag": {"service": record.path, "incarnation": record.incarnation}},
    )
