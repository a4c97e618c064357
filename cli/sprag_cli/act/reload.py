"""``sprag reload``: the services of a running app read their configuration again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, as_json, chosen, is_one
from sprag_cli.app.told import count_of, list_of, number_of, text_of
from sprag_cli.term.cells import cell_len
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Tone
from sprag_cli.term.words import counted, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_cli.app.told import Node
    from sprag_cli.term.screen import Screen
    from sprag_cli.term.style import Line

_MARGIN: Final = 2.0
"""Seconds that the answer may take beyond what the app was given for the work."""
_SAID: Final = {
    "reloaded": ("reloaded", Tone.PLAIN),
    "failed": ("failed: ", Tone.BAD),
    "late": ("not done: ", Tone.BAD),
    "skipped": ("skipped: ", Tone.DIM),
    "planned": ("would reload", Tone.PLAIN),
}


class ReloadOptions(Asked):
    """The options of ``sprag reload``; `commands` explains them, and has their defaults."""

    dry_run: bool
    ascii: bool


def reload(options: ReloadOptions) -> int:
    """Reload one after another what was chosen, each with what is below it.

    Returns:
        The worst exit code.

    Raises:
        CommandError: There is no such app or service, or it does not answer.
    """
    client = Client(find_app(options.app), timeout=options.timeout + _MARGIN)
    query = {
        "timeout": min(options.timeout, 1e9),
        "dry_run": 1 if options.dry_run else None,
    }
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    answers: list[Node] = []
    code = ExitCode.WELL
    for path in _topmost(chosen(client, options.paths)):
        answer = client.ask("/v1/reload", path, query, method="POST")
        answers.append(answer)
        code = max(code, _code(answer))
        if not options.json:
            write(sys.stdout, painted(list(_lines(answer, screen)), screen))
    if options.json:
        write(sys.stdout, as_json(answers, one=is_one(options.paths)))
    return code


def _topmost(paths: list[str]) -> list[str]:
    """Leave out what is below another one of them, and reloads with that."""
    given = {path.rstrip("/") for path in paths}

    def is_below(path: str) -> bool:
        above = path.rstrip("/")
        while above:
            above = above.rpartition("/")[0]
            if above in given:
                return True
        return False

    return [path for path in paths if not is_below(path)]


def _code(answer: Node) -> ExitCode:
    if count_of(answer, "late"):
        return ExitCode.TIMED_OUT
    return ExitCode.FAILED if count_of(answer, "failed") else ExitCode.WELL


def _lines(answer: Node, screen: Screen) -> Iterator[Line]:
    for entry in list_of(answer, "entries"):
        said, tone = _SAID.get(text_of(entry, "outcome"), (text_of(entry, "outcome"), Tone.PLAIN))
        took = number_of(entry, "seconds") or 0.0
        time = f" in {took:.1f} s" if tone is Tone.PLAIN and took >= 0.05 else ""
        detail = screen.charset.safe(text_of(entry, "detail"))
        if detail and tone is Tone.PLAIN:
            said += ": "
        state, path = text_of(entry, "state"), printable(text_of(entry, "path"))
        taken = cell_len(f"  {path} {time}") - 4  # by the first line, beyond what others leave free
        first, *rest = wrapped(said + detail, screen.width - 4, taken)
        symbol = (f"{screen.charset.symbol(state)} ", TONES.get(state, Tone.PLAIN))
        yield [symbol, (path, Tone.NAME), (f" {first}{time}", tone)]
        for line in rest:
            yield [(f"    {line}", tone)]
    if more := count_of(answer, "more"):
        yield [(f"  {counted(more, 'more service', 'more services')}", Tone.DIM)]
    if not list_of(answer, "entries"):
        path = printable(text_of(answer, "path"))
        yield [(f"nothing to reload: {path} and all below it have no on_reload", Tone.DIM)]
