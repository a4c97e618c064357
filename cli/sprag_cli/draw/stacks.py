"""``sprag stacks``: where every greenlet is, by service."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, as_json, chosen, is_one
from sprag_cli.app.told import Node, count_of, list_of, text_of
from sprag_cli.term.cells import cut
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = "of no service"


class StackOptions(Asked):
    """The options of ``sprag stacks``; `commands` explains them, and has their defaults."""

    all: bool
    ascii: bool


def show(options: StackOptions) -> int:
    """Carry out ``sprag stacks`` and return the exit code.

    Raises:
        CommandError: There is no such app or service.
    """
    client = Client(find_app(options.app), timeout=options.timeout)
    paths = chosen(client, options.paths, failed=options.failed)
    answers = [client.ask("/v1/stacks", query={"path": path or None}) for path in paths]
    if options.json:
        write(sys.stdout, as_json(answers, one=is_one(options.paths, failed=options.failed)))
        return ExitCode.WELL
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    stacks = [each for answer in answers for each in list_of(answer, "stacks")]
    lines = render(stacks, width=screen.width, charset=screen.charset, everything=options.all)
    write(sys.stdout, painted(lines, screen))
    return ExitCode.WELL


def render(
    stacks: list[Node], *, width: int, charset: Charset, everything: bool = False
) -> list[Line]:
    """Draw stacks, the innermost call last, services first.

    Args:
        stacks: What the app tells.
        width: Cells per line; longer ones are cut.
        charset: The characters to draw with.
        everything: Draw sprag's own greenlets too.
    """
    owned = [each for each in stacks if text_of(each, "service")]
    nobodys = [each for each in stacks if not text_of(each, "service")]
    ours = [each for each in nobodys if text_of(each, "what") != "nobody's"]
    strangers = [each for each in nobodys if text_of(each, "what") == "nobody's"]
    lines: list[Line] = []
    above = ""
    for each in [*owned, *strangers, *(ours if everything else [])]:
        name = text_of(each, "service") or _NOBODY
        if name != above:
            shown = cut(charset.safe(name), width, charset.ellipsis)
            lines += [[], [(shown, Tone.NAME)]] if lines else [[(shown, Tone.NAME)]]
            above = name
        lines += _drawn(each, width, charset)
    if not lines:
        lines.append([("no greenlet is there: nothing runs, hooks and timers wait", Tone.PLAIN)])
    if ours and not everything:
        count = sum(count_of(each, "count") for each in ours)
        said = f"{counted(count, 'greenlet')} of sprag and gevent not shown: --all"
        lines += [[], [(said, Tone.DIM)]]
    return lines


def _drawn(stack: Node, width: int, charset: Charset) -> Iterator[Line]:
    count = count_of(stack, "count")
    times = f" ({counted(count, 'greenlet')})" if count != 1 else ""
    what = charset.safe(text_of(stack, "what"))
    yield [(cut(f"  {what}{times}", width, charset.ellipsis), Tone.BUSY)]
    for frame in list_of(stack, "frames"):
        place = f"{_short(text_of(frame, 'file'))}:{count_of(frame, 'line')}"
        source = printable(text_of(frame, "source"))
        said = f"    {place} {text_of(frame, 'function')}"
        line: Line = [(cut(charset.ascii(said), width, charset.ellipsis), Tone.DIM)]
        yield line
        if source:
            yield [(cut(charset.ascii(f"      {source}"), width, charset.ellipsis), Tone.PLAIN)]


def _short(file: str) -> str:
    """Say where a file is, from the current directory or the installed packages on."""
    _, found, rest = file.rpartition("site-packages/")
    if found:
        return rest
    try:
        here = os.getcwd() + os.sep  # noqa: PTH109 - only compared
    except OSError:  # it has been removed
        return file
    return file.removeprefix(here)
