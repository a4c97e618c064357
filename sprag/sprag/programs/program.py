"""The Program: an OS process as a service."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Never

from sprag.programs.beginning import begin
from sprag.programs.exceptions import FatalExit
from sprag.programs.probes import Notify
from sprag.programs.replicas import bring_to_size, policy_of_each, tell_readiness
from sprag.programs.settings import OUTPUT_LIMIT, checked, checked_signal, checked_size
from sprag.programs.world import World
from sprag.services.acquiring import may_hold
from sprag.services.service import Service
from sprag_supervisor import (
    checked_name,
    class_name,
    must_be_able_to_wait,
    must_be_at_home,
    path_of,
)
from sprag_supervisor.exceptions import BadValue, NotRunning

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping, Sequence

    from sprag.programs.run import Run
    from sprag.programs.settings import AliveProbe, Kill, ReadyProbe, Settings
    from sprag_supervisor import Seconds


class Program(Service, shutdown=10.0):
    """An OS process that is supervised like any service.

        db = Program(["postgres", "-D", "data"], ready=Line("ready to accept connections"))
        web = Program("gunicorn shop:wsgi", port=8000, ready=Port(), alive=Http("/healthz"))

    It has started when its exec has succeeded and *settle* seconds have passed, and is ready when
    *ready* says so. When it ends by itself, its service has finished or crashed, and the restart
    type says what then. A stop sends *stop_signal*, and kills in time to be through within
    ``shutdown``; what it has left of its process group is ended as well. A subclass may override
    `command` and `environment`.

    Args:
        command: The command and its arguments; a str is split as a shell does it, but none runs.
        shell: *command* is one line for ``/bin/sh -c``.
        cwd: Its directory; None: ours.
        env: Variables, over those of *env_file*, over ours. They are shown nowhere.
        env_file: A file of ``NAME=value`` lines, read at each start.
        user: As whom it runs, a name or a number; only root may say so. It gets the user's groups,
            and HOME, USER, LOGNAME, SHELL.
        group: Instead of the user's primary group.
        umask: As 0o027; None: ours.
        limits: Resource limits by name: ``{"nofile": 65536, "core": (0, "unlimited")}``.
        port: Its port, which it gets as PORT, and which ``Port()`` and ``Http("/path")`` ask.
        ready: How one learns that it is ready: `Port`, `Http`, `Line`, `Notify`, `Command` of
            `sprag.programs`; None: it is as soon as it has started. ``start_timeout`` bounds it.
        alive: Asked while it runs: `Port`, `Http`, `Command`; ``failures`` in a row are a crash.
        settle: Seconds that it has to live before it counts as started.
        success_codes: Exit codes with which it has finished: no failure. A permanent program is
            restarted all the same.
        fatal_codes: Exit codes with which it has failed for good: it is not restarted.
        stop_signal: ``"TERM"``, ``"INT"``, …, or a number.
        kill: Who is ended with it: its process ``"group"``, the ``"process"`` alone, or the
            ``"tree"`` of all that it has started.
        output: ``"log"``: each line is a record; a path: a file to which it is appended as it is;
            ``"inherit"``: it goes where ours goes.
        pty: It writes to a terminal: one of its own, as wide as ours, or 80 columns. So it writes
            line by line, and as if somebody looked; stdout and stderr are one then. Colours go
            into a file, not into the log.
        output_limit: Lines in a second that are logged; of more it is told how many.
        max_lifetime: Seconds after which it is recycled: stopped, and started again with those that
            are restarted with it, which counts toward no limit; a temporary one ends then. Up to a
            tenth more or less, and one of its siblings at a time until that is ready. None: never.
        replicas: So many of it, called ``1``, ``2``, …, below a supervisor of its name, which is
            ready when all are. ``{replica}`` in the command, the variables and the probes is the
            number; *port* is the first one's, the next has the next. What concerns the life of one
            (``restart``, ``backoff``, ``shutdown``, …) is asked for each. None: a single one.
        name: Its name in its tree; default: that of the binary.
        **policy: Keywords as for `Service`; ``shutdown`` is 10 seconds here.

    Raises:
        BadValue: An argument is of no use.
        BadPolicy: A policy keyword is unknown or wrong, or *ready* is a `Line`, or *pty* is asked
            for, and *output* is not read.
    """

    name: str | None = None
    _world_: ClassVar[World] = World()
    """Where its processes live."""
    _settings_: Settings | None = None
    _run_: Run | None = None
    _replica_: int | None = None
    _size_ = 0

    def __init__(
        self,
        command: Sequence[str] | str | None = None,
        *misplaced: Never,
        shell: bool = False,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        umask: int | None = None,
        limits: Mapping[str, Any] | None = None,
        port: int | None = None,
        ready: ReadyProbe | None = None,
        alive: AliveProbe | None = None,
        settle: Seconds = 0.0,
        success_codes: Collection[int] = (0,),
        fatal_codes: Collection[int] = (),
        stop_signal: str | int = "TERM",
        kill: Kill = "group",
        output: str | os.PathLike[str] = "log",
        pty: bool = False,
        output_limit: int = OUTPUT_LIMIT,
        max_lifetime: Seconds | None = None,
        replicas: int | None = None,
        name: str | None = None,
        **policy: Any,
    ) -> None:
        if misplaced:
            accepted = "one list of words: Program(['nginx', '-g', 'daemon off;'])"
            raise BadValue("Program's argument", misplaced[0], accepted)
        self._settings_ = settings = checked(
            {
                "command": command,
                "shell": shell,
                "cwd": cwd,
                "env": env,
                "env_file": env_file,
                "user": user,
                "group": group,
                "umask": umask,
                "limits": limits,
                "port": port,
                "ready": ready,
                "alive": alive,
                "settle": settle,
                "success_codes": success_codes,
                "fatal_codes": fatal_codes,
                "stop_signal": stop_signal,
                "kill": kill,
                "output": output,
                "pty": pty,
                "output_limit": output_limit,
                "max_lifetime": max_lifetime,
                "replicas": replicas,
            }
        )
        if name is not None:
            self.name = checked_name(name)
        elif self.name is None and settings.command:
            self.name = settings.called
        self._policy_ = _with_its_own(self._policy_.with_(policy), settings)
        if settings.replicas is not None:
            self._is_supervisor_ = True  # type: ignore[misc]
            self._size_ = settings.replicas

    # -- for subclasses ------------------------------------------------------------

    def command(self) -> Sequence[str] | str:
        """Return what is run. Asked at each start; a subclass may make it up then."""
        settings = self._settings_
        return () if settings is None else settings.command

    def environment(self) -> Mapping[str, str]:
        """Return the variables that it gets besides. Asked at each start, as `command` is."""
        settings = self._settings_
        return {} if settings is None else settings.env

    # Who defines these hides nothing (`hidden_methods`); for type checkers the class is whole.
    vars()["command"].__isabstractmethod__ = True
    vars()["environment"].__isabstractmethod__ = True

    def scale(self, replicas: int) -> None:
        """Have so many replicas, from now until I restart.

        Blocks until new ones have started, or those that are too many have ended, the highest
        numbers first. Never counts toward my limit.

        Args:
            replicas: How many; 1 or more.

        Raises:
            BadValue: *replicas* is no such number, or I am a single program.
            StartFailed: A new one could not be started; those before it are there.
            NotRunning: I am neither starting nor running.
            WouldDeadlock, CalledInHub: As for `adopt`.
        """
        wanted = checked_size(replicas)
        settings = self._settings_
        if settings is None or settings.replicas is None:
            raise BadValue(
                "replicas", replicas, "a program declared with replicas=…: it is a single one"
            )
        must_be_able_to_wait(self, "scale it")
        may_hold(self, "scale it")
        self._size_ = wanted
        self._bring_to_size_()

    def send_signal(self, number: str | int) -> None:
        """Send my process a signal, as "HUP" to have it read its configuration again.

        Does not block. What it makes of it is its own doing: if it ends, it has ended by itself.

        Args:
            number: ``"HUP"``, ``"SIGHUP"``, or a number.

        Raises:
            BadValue: There is no such signal.
            NotRunning: I have no process now; or it has several, with replicas, which are asked
                each.
            PermissionError: The process has become another user's.
            WrongThread, AfterFork: As for `adopt`.
        """
        wanted = checked_signal("number", number)
        must_be_at_home(self)
        run = self._run_
        if run is None or run.child is None or not run.child.send(wanted):
            settings = self._settings_
            remedy = "it has no process now: start it first"
            if settings is not None and settings.replicas is not None:
                remedy = f"its replicas have the processes: {path_of(self)}/1, …"
            raise NotRunning(path_of(self), self._state_.value, f"send {wanted.name}", remedy)

    @property
    def pid(self) -> int | None:
        """The process id, as long as it runs."""
        return self._pid_()

    # -- for the engine ------------------------------------------------------------

    def _pid_(self) -> int | None:
        run = self._run_
        child = None if run is None else run.child
        return child.pid if child is not None and child.is_alive else None

    def _prepare_(self) -> None:
        settings = self._settings_
        if settings is None:
            raise BadValue(
                f"the __init__ of {class_name(type(self))}",
                None,
                "super().__init__(command, ...) in it: the program knows nothing of itself",
            )
        if settings.replicas is not None:
            self._bring_to_size_()
            tell_readiness(self)
            return
        begin(self, self._world_, settings, self._replica_)

    def _sized_(self) -> tuple[str, int] | None:
        settings = self._settings_
        is_single = settings is None or settings.replicas is None
        return None if is_single else ("replica", len(self._children_ or {}))

    def _resize_(self, size: int) -> None:
        Program.scale(self, size)

    def _bring_to_size_(self) -> None:
        bring_to_size(self, self._size_, partial(Replica, self), Service.stop)


class Replica(Program):
    """One of several."""

    def __init__(self, group: Program, number: int) -> None:
        settings = group._settings_
        assert settings is not None
        port = None if settings.port is None else settings.port + number - 1
        self._settings_ = replace(settings, replicas=None, port=port)
        self._world_ = group._world_  # type: ignore[misc]
        self._replica_ = number
        self._group_ = group
        self._world_ = group._world_  # type: ignore[misc]
        self._policy_ = self._policy_.with_(policy_of_each(group._policy_))

    def command(self) -> Sequence[str] | str:
        """Return what the group says."""
        return self._group_.command()

    def environment(self) -> Mapping[str, str]:
        """Return what the group says."""
        return self._group_.environment()


def _with_its_own(policy: Any, settings: Settings) -> Any:
    """Return *policy* with what the settings of a program say in its words."""
    more: dict[str, Any] = {}
    if settings.fatal_codes and FatalExit not in policy.on_failure:
        more["on_failure"] = {FatalExit: "stop", **policy.on_failure}
    if type(settings.ready) is Notify and policy.heartbeat is None:
        more["heartbeat"] = settings.ready.watchdog
    return policy.with_(more)
