"""``sprag scale``: how many workers a pool of a running app has."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.told import count_of, full_path, mapping_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.output import complain, painted, write
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Tone
from sprag_cli.term.words import counted

if TYPE_CHECKING:
    from sprag_cli.app.told import Node
    from sprag_cli.term.style import Line

_MARGIN: Final = 2.0
"""Seconds that the answer may take beyond what the app was given for the work."""
_ANSWERS: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOptions:
    """The options of ``sprag scale``; `commands` explains them, and has their defaults."""

    path: str
    size: int
    json: bool
    wait: bool
    ascii: bool
    app: str | None
    timeout: float


def scale(options: ScaleOptions) -> int:
    """Carry it out, and return the exit code.

    Raises:
        CommandError: There is no such app or service, it is no pool, or a worker did not start.
    """
    client = Client(find_app(options.app), timeout=options.timeout + _MARGIN)
    query = {
        "size": options.size,
        "timeout": None if options.timeout == math.inf else options.timeout,
        "wait": None if options.wait else 0,
    }
    answer = client.ask("/v1/scale", options.path, query, method="POST", accepted=_ANSWERS)
    is_late = options.wait and not answer.get("done")
    if options.json:
        write(sys.stdout, deep_json.dumps(answer, indent=2) + "\n")
    elif is_late:
        path = full_path(answer)
        late = f"after {options.timeout:g} s — it goes on — see 'sprag tree {path}'"
        complain(f"sprag: {_said(answer)} {late}")
    else:
        state = text_of(answer, "state")
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        line: Line = [
            (f"{screen.charset.symbol(state)} ", TONES.get(state, Tone.PLAIN)),
            (_said(answer), Tone.PLAIN),
        ]
        write(sys.stdout, painted([line], screen))
    return ExitCode.TIMED_OUT if is_late else ExitCode.WELL


def _said(answer: Node) -> str:
    workers = mapping_of(answer, "workers")
    before, now = count_of(workers, "before"), count_of(workers, "now")
    unit = text_of(workers, "unit") or "worker"
    said = f"{full_path(answer)} has {counted(now, unit)}"
    return said if before == now else f"{said}, {before} before"
