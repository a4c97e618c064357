"""What the probes of a program may know and do: its port, its number, a command beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

from sprag.programs.child import Child
from sprag.programs.exceptions import CannotRun, signal_name
from sprag.programs.popen import close
from sprag.programs.settings import REPLICA
from sprag.programs.spawning import await_exec, check, spawn, what_is_wrong
from sprag_supervisor import Parking, clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag.programs.spawning import Launch


_DIES_WITHIN: Final = 1.0


class ProgramSite:
    """A program, as its probes see it.

    Args:
        pool: The engine greenlets of its tree.
        port: Its own port; a replica's is its own, too.
        replica: Its number; None: it is a single one.
    """

    def __init__(self, pool: Any, port: int | None, replica: int | None) -> None:
        self._pool = pool
        self._replica = replica
        self.port = port
        self.launch: Launch | None = None
        """How the program itself was started."""

    def filled(self, text: str) -> str:
        """Return *text* with its ``{replica}`` filled in."""
        return text if self._replica is None else text.replace(REPLICA, str(self._replica))

    def run_beside(self, argv: Sequence[str], seconds: float) -> str | None:
        """Run a command as the program's user; return what is wrong, None if it exits with 0.

        It and all of its group are killed after so many seconds, and when the caller is.
        """
        assert self.launch is not None
        launch = self.launch._replace(command=tuple(argv))
        beside = _Beside(launch)
        try:
            check(launch)
            self._pool.run_apart(beside.start)
            return beside.outcome(clock.now() + seconds, seconds)
        except CannotRun as error:
            return str(error)
        except OSError as error:  # no descriptor is left
            return f"{launch.name} cannot be run: {what_is_wrong(error)}"
        finally:
            beside.end()


class _Beside:
    """One command under way."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._parking = Parking()
        self._child: Child | None = None
        self._is_starting = self._is_over = False

    def start(self) -> None:
        """Start it. In an engine greenlet."""
        self._is_starting = True
        loop: Any = get_hub().loop
        loop.install_sigchld()
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            spawned = spawn(self._launch, null, null)
            self._child = Child(spawned.pid, self._parking.poke)
            if self._is_over:  # nobody waits any more
                self._child.kill()
            await_exec(self._launch, spawned)
        finally:
            close(null)
            self._is_starting = False
            self._parking.poke()

    def outcome(self, until: float, seconds: float) -> str | None:
        """Wait for its end; return what is wrong, or None."""
        child, name = self._child, self._launch.name
        assert child is not None
        while child.is_alive and clock.now() < until:
            self._parking.park(until)
        code = child.code
        if code is None:
            return f"{name} has not ended within {seconds:g} s"
        if code < 0:
            return f"{name} was killed by {signal_name(-code)}"
        return None if code == 0 else f"{name} has exited with code {code}"

    def end(self) -> None:
        """Kill what there is of it, and wait for that, and for its start."""
        self._is_over = True
        until = clock.now() + _DIES_WITHIN
        if self._child is not None:
            self._child.kill()
        while self._is_under_way() and clock.now() < until:
            self._parking.park(until)

    def _is_under_way(self) -> bool:
        return self._is_starting or (self._child is not None and self._child.is_alive)
