"""Programs without processes: what stands for them in virtual time, and plays their part."""

from __future__ import annotations

import itertools
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from sprag.programs.output import Written
from sprag.programs.program import Program
from sprag.programs.readiness import hear
from sprag.programs.settings import checked_signal
from sprag.programs.world import World
from sprag_supervisor import as_count, is_a, path_of, plain
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.programs.notify import NotifySocket
    from sprag.programs.probes import Probe, Site
    from sprag.programs.run import Run
    from sprag.programs.settings import Outlet, Settings
    from sprag.programs.spawning import Launch

_pids: Final = itertools.count(1_000_001)
_ENDS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGKILL)


class FakeProcess:
    """The process that a program under test would have: it does what the test says.

    It ends at the first SIGTERM, SIGINT, SIGQUIT or SIGHUP, unless it is `deaf`, and at a SIGKILL.

    Attributes:
        pid: A number that no process has.
        command: The words that it was started with.
        env: Its variables.
        signals: What it was sent, the latest last.
        deaf: Whether it ignores all signals but SIGKILL; False at first.
        complaint: What `Port`, `Http` and `Command` find wrong with it; None at first: all is well.
    """

    def __init__(self, run: Run, launch: Launch, complaint: str | None) -> None:
        """Made by a FakeProgram, for each of its lives."""
        self._run = run
        self.pid = next(_pids)
        self.command = launch.command
        self.env = launch.env
        self.signals: list[signal.Signals] = []
        self.deaf = False
        self.complaint = complaint
        self.status: int | None = None

    # -- what a test has it do -----------------------------------------------------------

    def say(self, line: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Write a line.

        Raises:
            BadValue: *line* is no text, or *stream* none of the two.
        """
        if not is_a(line, str):
            raise BadValue("line", line, "a str")
        if stream not in ("stdout", "stderr"):
            raise BadValue("stream", stream, "'stdout' or 'stderr'")
        self._run.output.receive([Written(stream, plain(each)) for each in line.split("\n")])

    def notify(self, **said: str) -> None:
        """Say ``READY="1"``, ``STATUS="…"`` or ``WATCHDOG="1"``, as to systemd."""
        hear(self._run.node, said)

    def exit(self, code: int = 0) -> None:
        """End with an exit code. Does nothing if it has ended.

        Raises:
            BadValue: *code* is no exit code.
        """
        number = as_count(code)
        if not 0 <= number <= 255:
            raise BadValue("code", code, "an exit code, 0 to 255")
        self._end(number << 8)

    def die(self, number: int | str = "KILL", *, why: str = "") -> None:
        """End by a signal that somebody else has sent.

        Args:
            number: The signal.
            why: What is known of that, as `ProgramKilled` has it: ``out of memory``, if it was the
                kernel; empty: nothing.

        Raises:
            BadValue: There is no such signal.
        """
        checked = int(checked_signal("number", number))
        if why:
            self._run.cause = why
        self._end(checked)

    def _end(self, status: int) -> None:
        if self.status is None:
            self.status = status
            self._run.ended()

    # -- what its program asks of it -------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.status is None

    @property
    def code(self) -> int | None:
        """Its exit code; minus the signal that has ended it; None: it has not ended."""
        if self.status is None:
            return None
        return self.status >> 8 if self.status > 0x7F or not self.status else -self.status

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped: it is not."""
        return False

    def send(self, number: int) -> bool:
        """Note a signal, and end of it."""
        if self.status is not None:
            return False
        self.signals.append(signal.Signals(number))
        if number == signal.SIGKILL or (number in _ENDS and not self.deaf):
            self._end(int(number))
        return True

    def send_to_group(self, number: int) -> bool:
        """Do the same: it is alone."""
        return self.send(number)

    def has_left_any(self) -> bool:
        """Whether anybody of its group is left: it was alone."""
        return False


class _FakeWorld(World):
    """A world whose processes are those of a test."""

    def __init__(self) -> None:
        self.processes: dict[str, FakeProcess] = {}
        """The latest one of each path."""

    def must_be_possible(self, name: str, settings: Settings, site: Site) -> None:
        """Refuse nothing."""

    def check(self, launch: Launch) -> None:
        """Refuse nothing: the binary need not be there."""

    def start(self, launch: Launch, run: Run, outlet: Outlet) -> FakeProcess:
        """Let a process begin that does what the test says."""
        del outlet
        path = path_of(run.node)
        before = self.processes.get(path)
        complaint = None if before is None else before.complaint
        process = self.processes[path] = FakeProcess(run, launch, complaint)
        return process

    def notify_socket(self, hear: Callable[[dict[str, str]], object]) -> NotifySocket | None:
        """Return none: it is told by `FakeProcess.notify`."""
        del hear
        return None

    def asked(self, probe: Probe, run: Run) -> Probe:
        """Return a probe of the fake process, as often and as patient as *probe*."""
        return _FakeProbe(probe, run)


class _FakeProbe:
    def __init__(self, probe: Probe, run: Run) -> None:
        self.every, self.timeout, self.failures = probe.every, probe.timeout, probe.failures
        self._run = run

    def complaint(self, site: Site) -> str | None:
        del site
        process = self._run.child
        return process.complaint if is_a(process, FakeProcess) else "it has not started"


class FakeProgram(Program):
    """A `Program` that starts no process: a test plays its part, in virtual time.

    It takes the same arguments, and does all that a program does. Its binary need not be there.

        web = FakeProgram("gunicorn shop:wsgi", ready=Line("Listening"))
        with virtual_time(), Supervisor([web]):
            web.process.say("Listening at 8000")
            web.process.exit(3)
    """

    _world_: ClassVar[Any] = _FakeWorld()

    @property
    def process(self) -> FakeProcess:
        """The process of this life.

        Raises:
            BadValue: It has not begun.
        """
        run = self._run_
        if run is None or not is_a(run.child, FakeProcess):
            raise BadValue("process", self, "a program that has started")
        return run.child


class FakePrograms:
    """The fake processes of a block of `fake_programs`, by the paths of their programs."""

    def __init__(self, world: _FakeWorld) -> None:
        """Made by `fake_programs`."""
        self._world = world

    def __getitem__(self, path: str) -> FakeProcess:
        """Return the latest process of the program at *path*, the root's name included.

        Raises:
            KeyError: None has begun there.
        """
        found = self._world.processes.get(path)
        if found is None:
            known = ", ".join(self._world.processes) or "none"
            msg = f"no program has begun at {path!r}; there are: {known}"
            raise KeyError(msg)
        return found

    def __iter__(self) -> Any:
        """Return the paths of all that have begun."""
        return iter(tuple(self._world.processes))

    def __len__(self) -> int:
        """Return how many paths there are."""
        return len(self._world.processes)


@contextmanager
def fake_programs() -> Generator[FakePrograms]:
    """Have every `Program` start a fake process within the block; yields these by path."""
    before, world = Program._world_, _FakeWorld()
    Program._world_ = world
    try:
        yield FakePrograms(world)
    finally:
        Program._world_ = before
