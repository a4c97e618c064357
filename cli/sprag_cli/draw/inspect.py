"""``sprag inspect``: what a service shows of its inside."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, as_json, chosen, is_one
from sprag_cli.app.told import Node, count_of, mapping_of, text_of
from sprag_cli.draw.services import title
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARGIN: Final = 1.0
"""Seconds that the answer may take beyond what `on_inspect` was given."""


class InspectOptions(Asked):
    """The options of ``sprag inspect``; `commands` explains them, and has their defaults."""

    ascii: bool


class NothingNamed(CommandError):
    """Raised when no path says which service is meant."""

    exit_code = ExitCode.USAGE

    def __init__(self) -> None:
        """Say how to name one."""
        super().__init__("which service? — as in 'sprag inspect fleet/courier'; '/' is the app")


def show(options: InspectOptions) -> int:
    """Show one service below the other; return the exit code.

    Raises:
        CommandError: There is nothing to show; the error says why.
    """
    if not options.paths and not options.failed:
        raise NothingNamed
    client = Client(find_app(options.app), timeout=options.timeout + _MARGIN)
    paths = chosen(client, options.paths, failed=options.failed)
    if not paths:
        write(sys.stdout, "[]\n" if options.json else NOTHING_FAILED)
        return ExitCode.WELL
    query = {"timeout": min(options.timeout, 1e9)}
    answers = [client.ask("/v1/inspect", path, query) for path in paths]
    if options.json:
        write(sys.stdout, as_json(answers, one=is_one(options.paths, failed=options.failed)))
    else:
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        texts = [
            painted(render(answer, width=screen.width, charset=screen.charset), screen)
            for answer in answers
        ]
        write(sys.stdout, "\n".join(texts))
    return ExitCode.FAILED if any(text_of(each, "error") for each in answers) else ExitCode.WELL


def render(answer: Node, *, width: int, charset: Charset) -> list[Line]:
    """Draw what the app tells of the inside of one service.

    Args:
        answer: The answer of ``/v1/inspect``.
        width: Cells per line; longer ones are broken.
        charset: The characters to draw with.
    """
    source = text_of(answer, "source")
    out: list[Line] = [[*title(answer, charset), (f" by its {source}", Tone.DIM)]]
    if error := text_of(answer, "error"):
        told = wrapped(printable(f"{source} did not tell: {error}"), width - 2)
        out += [[(f"  {line}", Tone.BAD)] for line in told]
    elif not mapping_of(answer, "values"):
        out.append([("  nothing", Tone.DIM)])
    out += _values(answer, width)
    if more := count_of(answer, "more"):
        out.append([(f"  {more} more", Tone.DIM)])
    return charset.lines(out)


def _values(answer: Node, width: int) -> Iterator[Line]:
    for name, value in mapping_of(answer, "values").items():
        label = f"  {printable(name)} = "
        first, *rest = wrapped(printable(str(value)), width - len(label)) or [""]
        yield [(label, Tone.NAME), (first, Tone.PLAIN)]
        for line in rest:
            yield [(" " * len(label), Tone.PLAIN), (line, Tone.PLAIN)]
