"""``sprag signal``: a signal for the process of a program."""

from __future__ import annotations

import sys
from signal import Signals
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from sprag_cli.commands import options

_USUAL: Final = ("HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH", "CONT", "STOP", "KILL")


class SignalName(click.ParamType[str]):
    """A signal by its name, with or without SIG, or by its number."""

    name = "signal"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return its name without SIG."""
        word = str(value).upper().removeprefix("SIG")
        if word.isascii() and word.isdecimal() and int(word[:4]) in {*Signals}:
            word = Signals(int(word)).name.removeprefix("SIG")
        if f"SIG{word}" not in Signals.__members__:
            from difflib import get_close_matches

            names = [name.removeprefix("SIG") for name in Signals.__members__]
            near = get_close_matches(word[:20], names, n=1)
            meant = f"did you mean {near[0]}?" if near else f"use one like {', '.join(_USUAL[:6])}."
            self.fail(f"{value!r} is no signal: {meant}", param, ctx)
        return word

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with *incomplete*, the usual ones first."""
        del ctx, param
        begun = incomplete.upper()
        prefix = "SIG" if begun.startswith("SIG") else ""
        names = [name.removeprefix("SIG") for name in Signals.__members__]
        names = [*_USUAL, *sorted(name for name in names if name not in _USUAL)]
        found = [f"{prefix}{name}" for name in names]
        return [CompletionItem(name) for name in found if name.startswith(begun)]


@options.about_services("sent", "refused: it is no program, or has no process now")
@click.argument("number", metavar="SIGNAL", type=SignalName())
@options.paths(required=True)
@click.option("--force", is_flag=True, help="Also KILL and STOP, which no program can catch.")
@options.as_json
@options.in_ascii
@options.app
@options.timeout()
def signal(**asked: Any) -> None:
    """Send a signal to the processes of programs.

    SIGNAL is a name, with or without SIG, or a number: 'sprag signal HUP shop/web'. {selectors}

    What a program makes of it is its own doing: one that ends has ended by itself, and is restarted
    if its policy says so. To end one for good: 'sprag stop'.
    """
    from sprag_cli.act.signal import SignalOptions, send

    sys.exit(send(SignalOptions(failed=False, **asked)))
