"""``sprag signal``: signals for the processes of programs of a running app."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client, Refusal
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, chosen
from sprag_cli.app.told import count_of, full_path, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import complain, painted, write
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Tone

if TYPE_CHECKING:
    from sprag_cli.app.told import Node
    from sprag_cli.term.style import Line

_CANNOT_BE_CAUGHT: Final = {
    "KILL": "'sprag stop' ends a program, and kills it in time",
    "STOP": "it would hang until somebody sends it CONT",
}


class NeedsForce(CommandError):
    """Raised for a signal that no program can catch."""

    exit_code = ExitCode.USAGE

    def __init__(self, name: str) -> None:
        """Say what else there is."""
        super().__init__(
            f"{name} leaves a program no choice: {_CANNOT_BE_CAUGHT[name]} — or say --force"
        )


class SignalOptions(Asked):
    """The options of ``sprag signal``; `commands` explains them, and has their defaults."""

    number: str
    force: bool
    ascii: bool


def send(options: SignalOptions) -> int:
    """Send it to one program after another, and return the worst exit code.

    Raises:
        CommandError: There is no such app or service, or the signal needs ``--force``.
    """
    if options.number in _CANNOT_BE_CAUGHT and not options.force:
        raise NeedsForce(options.number)
    client = Client(find_app(options.app), timeout=options.timeout)
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    query = {"signal": options.number, "force": 1 if options.force else None}
    told: list[Node] = []
    code = ExitCode.WELL
    for path in chosen(client, options.paths):
        try:
            answer = client.ask("/v1/signal", path, query, method="POST")
        except Refusal as refusal:
            told.append({"path": path, "error": str(refusal), "name": refusal.name})
            code = max(code, ExitCode(refusal.exit_code))
            if not options.json:
                complain(f"sprag: {refusal}")
            continue
        told.append(answer)
        if not options.json:
            state = text_of(answer, "state")
            said = f"{full_path(answer)} was sent {text_of(answer, 'signal')}"
            line: Line = [
                (f"{screen.charset.symbol(state)} ", TONES.get(state, Tone.PLAIN)),
                (screen.charset.safe(said), Tone.PLAIN),
                (f"  pid {count_of(answer, 'process_pid')}", Tone.DIM),
            ]
            write(sys.stdout, painted([line], screen))
    if options.json:
        write(sys.stdout, deep_json.dumps(told, indent=2) + "\n")
    return code
