"""Signals for programs, sent by those who have them in their hands."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from programmed import Log, python, until
from sprag.exceptions import BadValue, NotRunning

if TYPE_CHECKING:
    from sprag import Supervisor

COUNTS = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGHUP, lambda *_: print('hup', flush=True))\n"
    "print('up', flush=True)\n"
    "while True: time.sleep(1000)"
)


def test_a_signal_reaches_the_process_by_any_of_its_names(top: Supervisor, log: Log) -> None:
    program = top.start_child(python(COUNTS))
    until(lambda: log.texts() == ["up"])
    names: list[str | int] = ["HUP", "SIGHUP", 1, signal.SIGHUP]
    for times, name in enumerate(names, 1):
        program.send_signal(name)
        until(lambda times=times: log.texts() == ["up", *["hup"] * times])  # type: ignore[misc]
    assert program.snapshot().restarts == 0
    program.stop()


def test_one_that_ends_of_a_signal_has_crashed(top: Supervisor) -> None:
    program = top.start_child(python("import time; time.sleep(1000)"))
    program.send_signal("KILL")
    until(lambda: program.snapshot().restarts == 1)
    assert "was killed by SIGKILL" in str(program.snapshot().failures[-1])
    program.stop()


def test_one_that_is_stopped_goes_on_with_cont(top: Supervisor, log: Log) -> None:
    program = top.start_child(python(COUNTS))
    until(lambda: log.texts() == ["up"])
    program.send_signal("STOP")
    program.send_signal("HUP")
    program.send_signal("CONT")
    until(lambda: log.texts() == ["up", "hup"])
    program.stop()


def test_bad_signals_and_one_that_is_down_are_refused(top: Supervisor) -> None:
    program = top.start_child(python("import time; time.sleep(1000)"))
    for bad in ("HUPP", 0, 999, None, 1.5):
        with pytest.raises(BadValue, match="is not accepted"):
            program.send_signal(bad)  # type: ignore[arg-type]
    program.stop()
    with pytest.raises(NotRunning, match="cannot send SIGHUP; it has no process now"):
        program.send_signal("HUP")


def test_nobody_else_is_signalled_that_has_its_number_by_now(top: Supervisor) -> None:
    program = top.start_child(python("import time; time.sleep(1000)", shutdown="brutal_kill"))
    run = program._run_
    assert run is not None
    child = run.child
    assert child is not None
    began = child.began  # type: ignore[attr-defined]
    child.began = began - 1  # type: ignore[attr-defined]  # as if another one had got it
    assert not child.send(signal.SIGKILL)
    child.began = began  # type: ignore[attr-defined]
    os.kill(child.pid, 0)
    program.stop()
