"""How a run of a program begins: checks that hold nobody up, then pipes, process, guard, reader."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import gevent.subprocess
from gevent import get_hub

from sprag.programs import guard, proc
from sprag.programs.child import Child
from sprag.programs.connecting import is_of_this_machine
from sprag.programs.exceptions import CannotRun, PortTaken
from sprag.programs.outlets import open_outlet
from sprag.programs.popen import close
from sprag.programs.probes import Http, Port
from sprag.programs.spawning import await_exec, spawn, what_is_wrong
from sprag_supervisor import clock

if TYPE_CHECKING:
    from sprag.programs.probes import Site
    from sprag.programs.run import Run
    from sprag.programs.settings import Outlet, Settings
    from sprag.programs.spawning import Launch

_OURS: Final = (None, None)


def must_be_possible(program: str) -> None:
    """Refuse to start a process where its end could not be learnt of.

    Raises:
        CannotRun: The remedy is in it.
    """
    if clock.now is not time.monotonic:
        why = "this is virtual time, in which no process lives: use sprag.testing.FakeProgram"
        raise CannotRun(program, why)
    loop: Any = get_hub().loop
    if not loop.default:
        raise CannotRun(program, "programs are started from the main thread's loop only")
    if subprocess.Popen is not gevent.subprocess.Popen:
        why = (
            "the module subprocess is not patched, so that two would wait for children, and lose "
            "exit codes: begin the program with 'from gevent import monkey; monkey.patch_all()'"
        )
        raise CannotRun(program, why)


def must_be_free(settings: Settings, site: Site) -> None:
    """Refuse to start beside somebody who answers already where readiness is looked for.

    Raises:
        PortTaken: At the port of ``ready=Port()``, or its own, of ``ready=Http("/path")``.
    """
    ready = settings.ready
    if type(ready) is Http and not ready.has_port:
        ready = Port(timeout=ready.timeout)
    if type(ready) is Port and ready.complaint(site) is None:
        port = ready.number(site)
        is_here = is_of_this_machine(site.filled(ready.host))
        raise PortTaken(port, proc.who_listens(port) if is_here else "")


def start(launch: Launch, run: Run, outlet: Outlet) -> Child:
    """Start the process and begin to read what it writes. In an engine greenlet.

    Raises:
        CannotRun: It could not be started.
    """
    guarding = guard.current()
    loop: Any = get_hub().loop
    loop.install_sigchld()
    ends: dict[str, tuple[int, int]] = {}
    owner = None if launch.identity is None else launch.identity.uid
    try:
        if guarding is not None:
            guarding.prepare()
        open_outlet(outlet, ends, is_copied=run.output.is_copied, owner=owner)
        _reading, out = ends.get("stdout", _OURS)
        _reading, err = ends.get("stderr", (_reading, out))
        spawned = spawn(launch, out, err)
        child = Child(spawned.pid, run.ended)
        run.begun(child)
        if guarding is not None:
            guarding.add(child.pid, child.began)
    except BaseException as error:
        for reading, _writing in ends.values():
            close(reading)
        if isinstance(error, OSError):
            raise CannotRun(launch.name, what_is_wrong(error)) from error
        raise
    finally:
        for _reading, writing in ends.values():
            close(writing)
    for name, (reading, _writing) in ends.items():
        run.output.read(name, reading)
    try:
        await_exec(launch, spawned)
    except CannotRun:
        run.wait(lambda: not child.is_alive)
        raise
    return child
