"""What the control plane tells of programs and does to them: ``POST /v1/signal/PATH``.

Who runs no programs has not loaded them, and loads them not for this.
"""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from sprag.control.http import Answer, Refused
from sprag.control.pictures import iso
from sprag_supervisor import Lifetime, clock, held_by, is_a, path_of, redacted, say
from sprag_supervisor.exceptions import BadValue, NotRunning

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.programs.program import Program
    from sprag_supervisor import Node

_LONGEST: Final = 1000
"""Characters of a command that are told."""
_CANNOT_BE_CAUGHT: Final = (signal.SIGKILL, signal.SIGSTOP)
_NO: Final = ("", "0", "no", "false")


def program_of(node: Node) -> Program | None:
    """Return *node* if it is a program, else None."""
    module: Any = sys.modules.get("sprag.programs.program")
    found: Any = node
    return found if module is not None and is_a(node, module.Program) else None


def program_to_json(program: Program) -> dict[str, Any]:
    """Return what is run, what it has written in this run, and how the last one has ended."""
    from sprag.programs.exceptions import signal_name
    from sprag.programs.last_end import last_end_of

    run, settings = program._run_, program._settings_
    words = run.command if run is not None else () if settings is None else settings.command
    output = None if run is None else run.output
    ended = last_end_of(program)
    return {
        "command": redacted(shlex.join(words))[:_LONGEST],
        "port": None if settings is None else settings.port,
        "output_to": None if settings is None else str(settings.output),
        "lines": 0 if output is None else output.lines,
        "left_out": 0 if output is None else output.dropped,
        "output": []
        if output is None
        else [{"stream": each.stream, "line": each.text} for each in output.last],
        "recycling": _recycling(program),
        "ended": None
        if ended is None
        else {
            "code": ended.code if ended.code >= 0 else None,
            "signal": signal_name(-ended.code) if ended.code < 0 else None,
            "at": iso(ended.at),
            "incarnation": ended.incarnation,
            "asked": ended.is_asked,
        },
    }


def _recycling(program: Program) -> dict[str, Any] | None:
    """Return how often it was recycled, and when it will be again."""
    settings, held, history = program._settings_, held_by(program), program._history_
    if settings is None or settings.max_lifetime is None:
        return None
    timers = () if held is None else tuple(held.timers or ())
    lifetime = next((each for each in timers if is_a(each, Lifetime)), None)
    waits_for = None if lifetime is None else lifetime.waits_for
    return {
        "max_lifetime": settings.max_lifetime,
        "times": 0 if history is None else history.recycled,
        "next": None if lifetime is None else iso(clock.wall() + lifetime.due - clock.now()),
        "waits_for": None if waits_for is None else path_of(waits_for),
    }


def send(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Send a program ``?signal=``; with ``&force=1`` also one that it cannot catch.

    Raises:
        Refused: It is no program, or has no process; there is no such signal, or it needs force.
    """
    node = desk.find(path)
    full = path_of(node)
    program = program_of(node)
    if program is None:
        message = f"{full} is no program: only a Program has a process to be sent a signal"
        raise Refused(HTTPStatus.CONFLICT, message, name="NoProgram")
    from sprag.programs.program import Program
    from sprag.programs.settings import checked_signal

    try:
        number = checked_signal("signal", request.query.get("signal", ""))
    except BadValue as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error), name="BadValue") from None
    if number in _CANNOT_BE_CAUGHT and request.query.get("force", "").lower() in _NO:
        message = f"{number.name} leaves {full} no choice: 'stop' ends it well; or add force=1"
        raise Refused(HTTPStatus.BAD_REQUEST, message, name="NeedsForce")
    pid = program._pid_()
    try:
        Program.send_signal(program, number)
    except NotRunning as error:
        raise Refused(HTTPStatus.CONFLICT, str(error), name="NotRunning") from None
    except PermissionError as error:
        message = f"{full} cannot be sent {number.name}: {error.strerror}"
        raise Refused(HTTPStatus.CONFLICT, message, name="PermissionError") from None
    say(logging.INFO, node, "a signal was sent to a program", signal=number.name, by=request.by)
    told = {"path": full, "state": node._state_.value, "process_pid": pid, "signal": number.name}
    return Answer({**desk.about(), **told})
