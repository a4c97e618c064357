"""The Program: an OS process as a service."""

from __future__ import annotations

import itertools
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Never

from sprag.programs import guard, starting
from sprag.programs.environment import environment
from sprag.programs.exceptions import CannotRun, FatalExit
from sprag.programs.notify import NotifySocket
from sprag.programs.output import RawCopy
from sprag.programs.probes import Notify, checked_command
from sprag.programs.readiness import become_ready, hear, watch_over
from sprag.programs.rotation import listen_for_rotation
from sprag.programs.run import Process, Run
from sprag.programs.settings import OUTPUT_LIMIT, called, checked
from sprag.programs.site import ProgramSite
from sprag.programs.spawning import Launch, check
from sprag.programs.users import identity
from sprag.services.service import Service
from sprag_supervisor import checked_name, class_name, holdings_of, say
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from sprag.programs.settings import AliveProbe, Kill, ReadyProbe, Settings
    from sprag_supervisor import Seconds

_serial: Final = itertools.count(1)


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
        output_limit: Lines in a second that are logged; of more it is told how many.
        name: Its name in its tree; default: that of the binary.
        **policy: Keywords as for `Service`; ``shutdown`` is 10 seconds here.

    Raises:
        BadValue: An argument is of no use.
        BadPolicy: A policy keyword is unknown or wrong, or *ready* is a `Line` and *output* is not
            read.
    """

    name: str | None = None
    _settings_: Settings | None = None
    _run_: Run | None = None

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
        output_limit: int = OUTPUT_LIMIT,
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
                "output_limit": output_limit,
            }
        )
        if name is not None:
            self.name = checked_name(name)
        elif self.name is None and settings.command:
            self.name = settings.called
        self._policy_ = _with_its_own(self._policy_.with_(policy), settings)

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
        tree = self._tree_
        assert tree is not None
        words = checked_command("what command() returns", self.command())
        name = settings.called if settings.shell else called(words)
        site = ProgramSite(tree.pool, settings.port, None)
        self._must_be_possible_(name, site)
        notify = None
        if type(settings.ready) is Notify:
            notify = NotifySocket(partial(_heard, self, self._incarnation_))
            holdings_of(self).add_cleanup(notify.close, (), {})
        mark = _mark()
        launch = self._launch_(name, words, mark, None if notify is None else notify.address)
        copy = None
        if settings.file is not None:
            copy = _copy(self, settings.file, name)
        run = self._run_ = Run(
            self,
            settings,
            name=name,
            mark=mark,
            copy=copy,
            start=partial(self._start_, launch),
            gone=_gone,
        )
        holdings_of(self).add_cleanup(run.end, (), {})
        site.launch = launch
        become_ready(self, settings, run, site)
        run.begin()
        if notify is not None:
            notify.pid = self._pid_()
        if settings.alive is not None:
            watch_over(self, settings.alive, site)

    def _must_be_possible_(self, name: str, site: ProgramSite) -> None:
        settings = self._settings_
        assert settings is not None
        starting.must_be_possible(name)
        starting.must_be_free(settings, site)

    def _launch_(self, name: str, words: tuple[str, ...], mark: str, address: str | None) -> Launch:
        settings = self._settings_
        assert settings is not None
        whose = identity(name, settings.user, settings.group)
        more = {} if whose is None else dict(whose.variables)
        if settings.port is not None:
            more["PORT"] = str(settings.port)
        if address is not None:
            more["NOTIFY_SOCKET"] = address
            watchdog = settings.ready.watchdog if type(settings.ready) is Notify else None
            if watchdog is not None:
                more["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        variables = environment(name, settings.env_file, self.environment(), more, mark)
        launch = Launch(
            words,
            variables,
            settings.cwd,
            settings.umask,
            settings.limits,
            whose,
            dies_with_us=guard.current() is None,
        )
        check(launch)
        return launch

    def _start_(self, launch: Launch, run: Run) -> Process:
        settings = self._settings_
        assert settings is not None
        return starting.start(launch, run, is_piped=settings.is_piped)


def _gone(run: Run) -> None:
    guarding = guard.current()
    if guarding is not None and run.child is not None and not run.child.has_left_any():
        guarding.forget(run.child.pid)


def _mark() -> str:
    guarding = guard.current()
    app = f"{os.getpid()}" if guarding is None else guarding.mark
    return f"{app}.{next(_serial)}"


def _with_its_own(policy: Any, settings: Settings) -> Any:
    """Return *policy* with what the settings of a program say in its words."""
    more: dict[str, Any] = {}
    if settings.fatal_codes and FatalExit not in policy.on_failure:
        more["on_failure"] = {FatalExit: "stop", **policy.on_failure}
    if type(settings.ready) is Notify and policy.heartbeat is None:
        more["heartbeat"] = settings.ready.watchdog
    return policy.with_(more)


def _copy(program: Program, path: Path, name: str) -> RawCopy:
    def tell(error: OSError) -> None:
        event = "the output of a program is lost: its file cannot be written"
        say(logging.ERROR, program, event, path=path, reason=error.strerror or str(error))

    listen_for_rotation()
    try:
        return RawCopy(path, tell)
    except OSError as error:
        raise CannotRun(name, f"its output, {path}: {error.strerror or error}") from None


def _heard(program: Program, incarnation: int, said: dict[str, str]) -> None:
    # In the hub.
    tree = program._tree_
    if tree is not None and program._incarnation_ == incarnation:
        tree.pool.launch(partial(hear, program, said), program, "program")
