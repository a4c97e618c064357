"""``sprag start``, ``stop`` and ``restart``: management of the services of a running app."""

from __future__ import annotations

import math
import sys
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import AppGone, Client, Refusal
from sprag_cli.app.find import find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, chosen
from sprag_cli.app.told import Node, count_of, full_path, list_of, mapping_of, number_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import complain, painted, write
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Tone
from sprag_cli.term.words import counted, wrapped

if TYPE_CHECKING:
    from sprag_cli.term.screen import Screen
    from sprag_cli.term.style import Line

Verb: TypeAlias = Literal["start", "stop", "restart"]

_MARGIN: Final = 2.0
"""Seconds that the answer may take beyond what the app was given for the work."""
_ENTRIES: Final = 10
"""Of a stop that was not clean, told to people."""
_ANSWERS: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.GATEWAY_TIMEOUT)
_DONE: Final = {"start": "started", "stop": "stopped", "restart": "restarted"}


class ActOptions(Asked):
    """The options of ``sprag start``, ``stop`` and ``restart``; see `commands`.

    Attributes:
        whole: The whole app is meant; for ``stop`` only.
    """

    verb: Verb
    whole: bool
    wait: bool
    ascii: bool


class NothingChosen(CommandError):
    """Raised when neither a path nor ``--failed`` says which service is meant."""

    exit_code = ExitCode.USAGE

    def __init__(self, verb: Verb) -> None:
        """Say how to choose."""
        whole = "; 'sprag stop --app NAME' ends a whole app" if verb == "stop" else ""
        super().__init__(
            "which service? — give paths or globs, or --failed "
            f"— as in 'sprag {verb} fleet/courier'{whole}"
        )


def act(options: ActOptions) -> int:
    """Carry out one of the three, one service after another, and return the worst exit code.

    Raises:
        CommandError: There is no such app or service.
    """
    if not options.paths and not options.failed and not options.whole:
        raise NothingChosen(options.verb)
    client = Client(find_app(options.app), timeout=options.timeout + _MARGIN)
    paths = chosen(client, options.paths, failed=options.failed)
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    told: list[Node] = []
    code = ExitCode.WELL
    if not paths and not options.json:
        write(sys.stdout, NOTHING_FAILED)
    for path in paths:
        try:
            answer = _ask(client, options, path)
        except Refusal as refusal:
            if options.verb == "start" and refusal.name == "ChildRunning":
                told.append({"path": path, "done": True, "before": "running", "state": "running"})
                _say(f"{path} runs already", "running", options, screen)
                continue
            told.append({"path": path, "done": False, "error": str(refusal), "name": refusal.name})
            code = max(code, ExitCode(refusal.exit_code))
            if not options.json:
                about = "" if refusal.name in _SELF_EXPLAINING or not path else f"{path}: "
                complain(f"sprag: {about}{refusal}")
            continue
        told.append(answer)
        code = max(code, _outcome(answer, options, screen))
    if options.json:
        write(sys.stdout, deep_json.dumps(told, indent=2) + "\n")
    return code


def _ask(client: Client, options: ActOptions, path: str) -> Node:
    query = {
        "timeout": None if options.timeout == math.inf else options.timeout,
        "wait": None if options.wait else 0,
        "whole": 1 if options.whole else None,
    }
    try:
        return client.ask(f"/v1/{options.verb}", path, query, method="POST", accepted=_ANSWERS)
    except KeyboardInterrupt:
        told = path or client.app.name
        complain(f"sprag: not waiting any longer — {told} is told to {options.verb} all the same")
        raise
    except AppGone as error:
        if not options.whole or not error.was_there:
            raise
        # The process ends with its root, and may do so before it has answered.
        path = client.app.name
        return {"path": path, "done": True, "before": "running", "state": "stopped"}


def _outcome(answer: Node, options: ActOptions, screen: Screen) -> ExitCode:
    path, state, before = full_path(answer), text_of(answer, "state"), text_of(answer, "before")
    report = mapping_of(answer, "report")
    if not answer.get("done"):
        doing = {"start": "starting", "stop": "stopping", "restart": "restarting"}[options.verb]
        if options.wait:
            if not options.json:
                complain(
                    f"sprag: {path} is still {state} after {options.timeout:g} s — it goes on "
                    f"{doing} — see 'sprag status {path}' or 'sprag stacks {path}'",
                )
            return ExitCode.TIMED_OUT
        _say(f"{path} is asked to {options.verb}", state, options, screen)
        return ExitCode.WELL
    said = f"{path} {_DONE[options.verb]}"
    if options.verb == "stop" and before in _DOWN:
        said = f"{path} was not running ({before})"
    elif options.verb != "stop" and state not in _UP:
        said = f"{path} was started, and is {state}"
    elif (took := number_of(report, "seconds")) is not None and took >= 0.05:
        said += f" in {took:.1f} s"
    _say(said, state, options, screen)
    _complain(report, options, screen)
    is_well = state != "failed" and not count_of(report, "stragglers")
    return ExitCode.WELL if is_well else ExitCode.FAILED


_SELF_EXPLAINING: Final = (
    "UnknownService",
    "AmbiguousPath",
    "WholeApp",
    "NoCluster",
    "UnknownNode",
    "AmbiguousNode",
    "NodeLost",
    "NodeSilent",
    "NotAllowed",
)
_UP: Final = ("running", "starting")
_DOWN: Final = ("new", "stopped", "finished", "failed")


def _say(text: str, state: str, options: ActOptions, screen: Screen) -> None:
    if not options.json:
        line: Line = [
            (f"{screen.charset.symbol(state)} ", TONES.get(state, Tone.PLAIN)),
            (text, Tone.PLAIN),
        ]
        write(sys.stdout, painted([line], screen))


def _complain(report: Node, options: ActOptions, screen: Screen) -> None:
    """Say what was not clean about a stop."""
    entries = list_of(report, "entries")
    if options.json or not entries:
        return
    parts = [
        counted(count_of(report, key), noun, nouns)
        for key, noun, nouns in (
            ("errors", "error", "errors"),
            ("killed", "killed", "killed"),
            ("stragglers", "straggler", "stragglers"),
            ("dropped", "left undone", "left undone"),
        )
        if count_of(report, key)
    ]
    lines: list[Line] = [[(f"  not clean: {', '.join(parts)}", Tone.BAD)]]
    for entry in entries[:_ENTRIES]:
        said = f"{text_of(entry, 'path')}: {text_of(entry, 'outcome')} in {text_of(entry, 'step')}"
        said = f"{said}: {_gist(text_of(entry, 'detail'))}"
        told = wrapped(screen.charset.safe(said), screen.width - 2)
        lines += [[(f"  {line}", Tone.PLAIN)] for line in told]
    left, untold = max(len(entries) - _ENTRIES, 0), count_of(report, "more")
    if left or untold:
        hint = f", {left} of them with --json" if untold else ": --json"
        lines.append([(f"  {left + untold} more{hint if left else ''}", Tone.DIM)])
    write(sys.stdout, painted(lines, screen))


def _gist(detail: str) -> str:
    """Return what says most: the exception, or the innermost call that is not gevent's."""
    lines = detail.rstrip().splitlines() or [""]
    if not lines[-1].startswith(" "):
        return lines[-1]
    calls = [
        code.strip()
        for place, code in pairwise(lines)
        if place.lstrip().startswith("File ") and "/gevent/" not in place
    ]
    return (calls or [lines[-1].strip()])[-1]
