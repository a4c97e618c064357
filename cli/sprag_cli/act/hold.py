"""``sprag hold`` and ``release``: exits of a running app that wait undecided."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client, Refusal
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, chosen
from sprag_cli.app.told import Node, full_path, held_text, mapping_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import complain, painted, write
from sprag_cli.term.screen import Screen, screen_of
from sprag_cli.term.style import TONES, Tone

if TYPE_CHECKING:
    from collections.abc import Callable


class NothingNamed(CommandError):
    """Raised when no path says which service is meant."""

    exit_code = ExitCode.USAGE

    def __init__(self, verb: str) -> None:
        """Say how to name one."""
        super().__init__(f"which service? — as in 'sprag {verb} fleet/courier'; '/' is the app")


class HoldOptions(Asked):
    """The options of ``sprag hold`` and ``release``; see `commands`."""

    seconds: float | None
    ascii: bool


def hold(options: HoldOptions) -> int:
    """Hold one service after another, and return the worst exit code.

    Raises:
        CommandError: There is no such app or service.
    """

    def said(answer: Node, _screen: Screen) -> tuple[str, ExitCode]:
        path = full_path(answer)
        text = f"{path} is {held_text(answer, now=time.time())}"
        return f"{text}: its ends wait for 'sprag release {path}'", ExitCode.WELL

    return _each(options, "/v1/hold", {"for": options.seconds}, said)


def release(options: HoldOptions) -> int:
    """Release one service after another, and return the worst exit code.

    Raises:
        CommandError: There is no such app or service.
    """

    def said(answer: Node, _screen: Screen) -> tuple[str, ExitCode]:
        path = full_path(answer)
        did = "released" if mapping_of(answer, "was") else "was not held"
        if above := text_of(mapping_of(answer, "held"), "path"):
            return (
                f"{path} {did}, and is held with {above}: 'sprag release {above}'",
                ExitCode.FAILED,
            )
        return f"{path} {did}", ExitCode.WELL

    return _each(options, "/v1/release", {}, said)


def _each(
    options: HoldOptions,
    resource: str,
    query: dict[str, object],
    said: Callable[[Node, Screen], tuple[str, ExitCode]],
) -> int:
    if not options.paths:
        raise NothingNamed(resource.rpartition("/")[2])
    client = Client(find_app(options.app), timeout=options.timeout)
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    told: list[Node] = []
    code = ExitCode.WELL
    for path in chosen(client, options.paths):
        try:
            answer = client.ask(resource, path, query, method="POST")
        except Refusal as refusal:
            told.append({"path": path, "error": str(refusal), "name": refusal.name})
            code = max(code, ExitCode(refusal.exit_code))
            if not options.json:
                complain(f"sprag: {refusal}")
            continue
        told.append(answer)
        text, worst = said(answer, screen)
        code = max(code, worst)
        if not options.json:
            state = text_of(answer, "state")
            symbol = (f"{screen.charset.symbol(state)} ", TONES.get(state, Tone.PLAIN))
            line = [symbol, (screen.charset.safe(text), Tone.PLAIN)]
            write(sys.stdout, painted([line], screen))
    if options.json:
        write(sys.stdout, deep_json.dumps(told, indent=2) + "\n")
    return code
