"""One process of a worker's slot: started, ready, shown the door."""

from __future__ import annotations

import itertools
import logging
import math
import random
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag.process.worker import LIFE
from sprag.programs import guard
from sprag.programs.beginning import gone, new_mark
from sprag.programs.exceptions import ProgramExited, ProgramKilled, killed_by
from sprag.programs.proc import MARK, with_mark
from sprag.programs.run import Run
from sprag.programs.spawning import Launch
from sprag.workers.exceptions import WorkerEnded, WorkerHeld
from sprag.workers.plan import called
from sprag_supervisor import Ending, Outcome, clock, path_of, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.cluster.serving import Serving
    from sprag.programs.reach import Process
    from sprag.programs.settings import Settings
    from sprag.programs.world import World
    from sprag.workers.plan import Plan
    from sprag_supervisor import Node

FIRST_SIGN: Final = 60.0
"""Seconds that a worker may take to its first sign of life: it imports the app until then."""
_ERROR: Final = "X_SPRAG_ERROR"
_LONGEST: Final = 1000
_FRACTION: Final = 0.1
_serial: Final = itertools.count(1)
_random = random.Random()  # noqa: S311 - jitter, not secrets


class WorkerProcess(Run):
    """A run of a program that may begin beside another one of its service, and take its place.

    Its end is news for *on_exit*, in an engine greenlet, and nothing else: what is the service's
    crash, the slot decides.

    Args:
        node: The slot.
        settings: What it was declared to be.
        plan: What the workers are.
        serving: Who has to know that it has ended, so that others take over; None: nobody.
        slot: Which one.
        generation: Of which generation it is.
        world: Where it lives.
        on_exit: Called when it has ended by itself.
        on_news: Called in an engine greenlet when it has said something of itself.
    """

    def __init__(
        self,
        node: Node,
        settings: Settings,
        *,
        plan: Plan,
        serving: Serving | None,
        slot: int,
        generation: int,
        world: World,
        on_exit: Callable[[WorkerProcess], object],
        on_news: Callable[[WorkerProcess], object],
    ) -> None:
        mark = new_mark()
        self.serial = next(_serial)
        env = plan.environment(slot, generation, self.serial)
        self._serving, self._life = serving, env.get(LIFE, "")
        if serving is not None:
            serving.admit(self._life, called(slot))
        env[MARK] = with_mark(env.get(MARK), mark)
        self._notify = world.notify_socket(self._heard)
        if self._notify is not None:
            env["NOTIFY_SOCKET"] = self._notify.address
        launch = Launch(
            plan.words,
            env,
            plan.cwd,
            dies_with_us=guard.current() is None,
            sockets=plan.sockets,
        )
        super().__init__(
            node,
            settings,
            name=path_of(node),
            command=plan.words,
            mark=mark,
            copy=None,
            start=partial(self._start_in, world, launch),
            gone=gone,
        )
        if self._notify is not None:
            self.on_begun = self._notify.listen_to
        self.generation = generation
        self._plan = plan
        self._on_exit = on_exit
        self._on_news = on_news
        self.is_ready = False
        self.has_ended = False
        self.status = ""
        self.began = clock.now()
        self.last_sign: float | None = None
        """When its loop has shown that it turns; None: it has not yet."""
        self.looked_at: float | None = None
        """Since when it is asked for its stacks, and killed if that goes on."""
        self.held = 0.0
        """For how long it had not turned when it was killed for that."""
        self._error = ""
        lifetime = plan.max_lifetime
        spread = 1 + _FRACTION * (2 * _random.random() - 1)
        self.over_at = math.inf if lifetime is None else self.began + lifetime * spread

    # -- up ------------------------------------------------------------------------

    def await_ready(self, off: Callable[[], bool] = lambda: False) -> bool:
        """Wait until it is ready, or is not wanted any more; return whether it is ready.

        Raises:
            WorkerEnded: It has ended before that.
        """
        self.wait(lambda: self.is_ready or self.has_ended or self.is_ending or off())
        if self.has_ended and not self.is_ending:
            raise self.failure()
        return self.is_ready and not self.has_ended and not self.is_ending

    def failure(self) -> Exception:
        """Return what its end was, which nobody has asked for."""
        child = self.child
        assert child is not None
        code = child.code or 0
        if self.held:
            return WorkerHeld(self.name, child.pid, self.held)
        if not self.is_ready:
            how = killed_by(-code, self.why_killed()) if code < 0 else f"has exited with {code}"
            return WorkerEnded(self.name, child.pid, how, code, self._error)
        if code < 0:
            return ProgramKilled(self.name, child.pid, -code, self.why_killed())
        return ProgramExited(self.name, child.pid, code, self._error)

    # -- what it says ----------------------------------------------------------------

    def hear_all(self) -> None:
        """Take all that it has said until now."""
        if self._notify is not None:
            self._notify.take()

    def _heard(self, said: dict[str, str]) -> None:
        # In the hub.
        if said.get("WATCHDOG") == "1":
            self.last_sign = clock.now()
        self._error = said.get(_ERROR, self._error)[:_LONGEST]
        self.status = said.get("STATUS", self.status)
        if said.get("READY") == "1":
            self.last_sign = clock.now()
            self.is_ready = True
            self.news()
        if "STATUS" in said or "READY" in said:
            self._pool.launch(partial(self._on_news, self), self.node, "worker")

    @property
    def silence(self) -> tuple[float, float]:
        """For how many seconds it has shown no sign of life, and how many are too many."""
        if self.last_sign is None:
            return clock.now() - self.began, max(FIRST_SIGN, self._plan.watchdog)
        return clock.now() - self.last_sign, self._plan.watchdog

    # -- down ----------------------------------------------------------------------

    def say_farewell(self) -> None:
        """Tell it that all is over, or will be: nobody takes its place."""
        if self.child is not None:
            with suppress(PermissionError):  # it has become another user's
                self.child.send(signal.SIGWINCH)

    def leave(self, number: int) -> None:
        """Ask it to end, by a signal, and return: `end` sees to it that it does.

        Who has not shown a sign of life gets a SIGTERM for an interrupt: Python, which may be
        about to load its own modules, would print a traceback.
        """
        if number == signal.SIGINT and self.last_sign is None:
            number = signal.SIGTERM
        self.is_ending = True
        self.stop_signal = signal.Signals(number)
        if self.child is not None and self.child.is_alive:
            self._reach.ask(self.child, number)

    def see_off(self) -> None:
        """Ask it to end as another has its place, and wait for that; kill it when it is late.

        Who is killed meanwhile leaves it to the clean-ups of the slot.
        """
        began = clock.now()
        self.leave(signal.SIGTERM)
        child = self.child
        if child is None:
            return
        self.wait(lambda: not child.is_alive, began + self._plan.budget)
        if child.is_alive:
            event = "worker does not end: it is killed"
            say(logging.WARNING, self.node, event, pid=child.pid, seconds=self._plan.budget)
            self._reach.kill(child)
            self.wait(lambda: not child.is_alive, clock.now() + 1)
        self._reach.end_rest(child, clock.now() + 1)
        self.close()

    def kill(self) -> None:
        """Kill it, and all of its group."""
        if self.child is not None:
            self._reach.kill(self.child)

    def ended(self) -> None:
        """Let others have at once what it had. In the hub."""
        self.hear_all()  # what it has said last may lie unread
        super().ended()
        if self._serving is not None:
            self._serving.reap(self._life, self._how())

    def _how(self) -> str:
        code = 0 if self.child is None else self.child.code or 0
        if self.is_ending:
            return "was replaced, or stopped"
        return killed_by(-code, self.why_killed()) if code < 0 else f"has exited with {code}"

    def close(self) -> None:
        """Nothing of it is left, or to be heard."""
        if self._serving is not None and (self.child is None or not self.child.is_alive):
            self._serving.reap(self._life, self._how())
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        self.output.close()
        self._gone(self)

    def end(self) -> None:
        """End it with its slot: within the time that has."""
        ending = self.node._op_
        try:
            super().end()
        finally:
            self.close()
        child = self.child
        if isinstance(ending, Ending) and child is not None and child.code == ExitCode.NOT_CLEAN:
            said = f"pid {child.pid} has stopped, but not clean: its own log says more"
            ending.note(Outcome.STRAGGLER, "program", said)

    def _start_in(self, world: World, launch: Launch, run: Run) -> Process:
        world.check(launch)
        return world.start(launch, run, "ours")

    def _see_end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.news()
            if not self.is_ending:
                self._on_exit(self)
