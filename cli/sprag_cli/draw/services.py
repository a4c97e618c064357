"""What `status` and `why` have in common: the app is asked about each service that was chosen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, as_json, chosen, is_one
from sprag_cli.app.told import Node, full_path, is_failed, text_of
from sprag_cli.term.output import painted, write
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Charset, Line, Tone

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag_cli.term.screen import Screen


def show_each(
    asked: Asked,
    resource: str,
    drawn: Callable[[Node, Screen], list[Line]],
    *,
    ascii_only: bool,
    more: Callable[[Client, Node], Node] | None = None,
) -> int:
    """Show what the app tells of each service, one below the other; return the exit code.

    Args:
        asked: Which app and which services.
        resource: What to ask for, as in ``/v1/service``.
        drawn: Draws the answer about one of them.
        ascii_only: Draw in ASCII.
        more: Asks for more about each, and returns the answer with that.

    Raises:
        CommandError: There is nothing to show; the error says why.
    """
    client = Client(find_app(asked.app), timeout=asked.timeout)
    paths = chosen(client, asked.paths, failed=asked.failed)
    if not paths:
        write(sys.stdout, "[]\n" if asked.json else NOTHING_FAILED)
        return ExitCode.WELL
    answers = [client.ask(resource, path) for path in paths]
    if more is not None:
        answers = [more(client, each) for each in answers]
    if asked.json:
        write(sys.stdout, as_json(answers, one=is_one(asked.paths, failed=asked.failed)))
    else:
        screen = screen_of(sys.stdout, ascii_only=ascii_only)
        texts = [painted(drawn(answer, screen), screen) for answer in answers]
        write(sys.stdout, "\n".join(texts))
    return ExitCode.FAILED if any(map(is_failed, answers)) else ExitCode.WELL


def title(answer: Node, charset: Charset) -> Line:
    """Return the symbol of a service's state, and its path."""
    state = text_of(answer, "state")
    return [
        (f"{charset.symbol(state)} ", TONES.get(state, Tone.PLAIN)),
        (printable(full_path(answer)), Tone.NAME),
    ]
