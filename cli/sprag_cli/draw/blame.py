"""``sprag blame``: where the time of an app's start went."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.told import Node, count_of, list_of, number_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Tone
from sprag_cli.term.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_cli.term.style import Line

_SHOWN: Final = 30
"""Services that are shown to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlameOptions:
    """The options of ``sprag blame``; `commands` explains them, and has their defaults."""

    json: bool
    ascii: bool
    app: str | None
    timeout: float


def show(options: BlameOptions) -> int:
    """Show how long each start took; return the exit code.

    Raises:
        CommandError: There is no such app, or it does not answer.
    """
    answer = Client(find_app(options.app), timeout=options.timeout).ask("/v1/blame")
    if options.json:
        write(sys.stdout, deep_json.dumps(answer, indent=2) + "\n")
    else:
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        write(sys.stdout, painted(screen.charset.lines(list(_lines(answer))), screen))
    return ExitCode.WELL


def _lines(answer: Node) -> Iterator[Line]:
    app = printable(text_of(answer, "app"))
    if (took := number_of(answer, "seconds")) is None:
        yield [(f"{app} is not up yet; what has started so far:", Tone.PLAIN)]
    else:
        yield [(f"{app} was up after {took:.3f} s; * is on the critical path", Tone.PLAIN)]
    starts = sorted(
        list_of(answer, "starts"), key=lambda each: number_of(each, "own") or 0.0, reverse=True
    )
    yield [("      own    total  service", Tone.DIM)]
    for each in starts[:_SHOWN]:
        mark = "*" if each.get("critical") else " "
        own, whole = number_of(each, "own") or 0.0, number_of(each, "seconds") or 0.0
        life = count_of(each, "incarnation")
        yield [
            (f"{mark} {own:7.3f}  {whole:7.3f}  ", Tone.PLAIN),
            (printable(text_of(each, "path")), Tone.NAME),
            (f" #{life}" if life > 1 else "", Tone.DIM),
        ]
    if hidden := len(starts) - min(len(starts), _SHOWN):
        yield [(f"  {hidden} more: --json", Tone.DIM)]
    if quick := count_of(answer, "more"):
        yield [(f"  {counted(quick, 'start')} more, none of them as long", Tone.DIM)]
