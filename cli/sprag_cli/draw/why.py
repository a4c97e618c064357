"""``sprag why``: which crash led to which decision, and how near the limit was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from sprag_cli.app.client import Refusal
from sprag_cli.app.decided import as_ruling
from sprag_cli.app.select import Asked
from sprag_cli.app.told import (
    Node,
    count_of,
    failure_text,
    last_output_of,
    list_of,
    mapping_of,
    number_of,
    text_of,
)
from sprag_cli.draw.services import show_each, title
from sprag_cli.term.cells import cut
from sprag_cli.term.plain import printable
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import clock, counted, duration, seconds, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_cli.app.client import Client
    from sprag_cli.term.screen import Screen

_NAMED: Final = 4
_TOLD: Final = 100
"""Decisions that are asked for, however few of them are shown: with --json all are told."""
_MESSAGE_LINES: Final = 6
_OUTPUT_LINES: Final = 5
"""Of a program's last ones."""


class WhyOptions(Asked):
    """The options of ``sprag why``; `commands` explains them, and has their defaults."""

    lines: int
    ascii: bool


def show(options: WhyOptions) -> int:
    """Carry out ``sprag why`` and return the exit code.

    Raises:
        CommandError: There is nothing to explain; the error says why.
    """

    def more(client: Client, answer: Node) -> Node:
        """Add what was decided anywhere; an older app does not tell."""
        try:
            told = client.ask("/v1/decisions", query={"limit": max(options.lines, _TOLD)})
        except Refusal:
            return answer
        return {**answer, "decisions": told.get("decisions"), "decided": told.get("count")}

    def drawn(answer: Node, screen: Screen) -> list[Line]:
        return render(
            answer,
            width=screen.width,
            now=time.time(),
            charset=screen.charset,
            most=options.lines,
        )

    is_whole = not options.paths and not options.failed
    return show_each(
        options, "/v1/why", drawn, ascii_only=options.ascii, more=more if is_whole else None
    )


def render(answer: Node, *, width: int, now: float, charset: Charset, most: int) -> list[Line]:
    """Tell the story of one service, the latest decision last; that of the app with ``decisions``.

    Args:
        answer: The answer of ``/v1/why``; for the app with what was decided anywhere.
        width: Cells per line; longer ones are broken.
        now: The time, in seconds since 1970; what was not today gets its date.
        charset: The characters to draw with.
        most: How many decisions to tell.
    """
    path, state = text_of(answer, "path"), text_of(answer, "state")
    known = state or "no longer in the tree"
    out: list[Line] = [[*title(answer, charset), (f" is {known}", Tone.PLAIN)]]
    is_whole = isinstance(answer.get("decisions"), list)
    rulings, holds = list_of(answer, "rulings"), list_of(answer, "holds")
    if is_whole:
        rulings = [as_ruling(each) for each in list_of(answer, "decisions")]
    moves, replacements = list_of(answer, "moves"), list_of(answer, "replacements")
    asks = list_of(answer, "asks")
    if not (rulings or holds or moves or replacements or asks):
        nothing = _NOTHING if is_whole else _nothing(state)
        told = wrapped(nothing, width - 2)
        out += [[(f"  {line}", Tone.PLAIN)] for line in told]
    shown = rulings[max(len(rulings) - most, 0) :]
    count = count_of(answer, "decided" if is_whole else "count")
    if (left_out := count - len(shown)) > 0:
        said = f"{counted(left_out, 'earlier decision')} not shown: --lines, --json"
        out.append([(f"  {said}", Tone.DIM)])
    stories = [(text_of(ruling, "at"), list(_story(ruling, path))) for ruling in shown]
    stories += [(text_of(note, "at"), [_of_hold(note, path)]) for note in holds[-most:]]
    stories += [(text_of(note, "at"), [_of_move(note, path)]) for note in moves[-most:]]
    stories += [(text_of(note, "at"), [_of_ask(note, path)]) for note in asks[-most:]]
    for note in replacements[-most:]:
        stories.append((text_of(note, "at"), list(_of_replacement(note, path))))
    for _, story in sorted(stories, key=lambda story: story[0]):
        above = ""
        for at, text, tone in story:
            when = clock(at, now)
            margin = f"  {when}  "
            for line in _cut(wrapped(printable(text), width - len(margin)), width, charset):
                shown_margin = margin if when != above else " " * len(margin)
                out.append([(shown_margin, Tone.DIM), (line, tone)])
                above = when
    return charset.lines(out)


_NOTHING: Final = (
    "No supervisor has had to decide about anything: nothing has crashed or been restarted."
)


def _nothing(state: str) -> str:
    if state == "failed":
        return (
            "Nobody has decided to restart it: its policy (restart, on_failure) keeps it down "
            "after such an end, or it was started by hand and failed: see 'sprag status'."
        )
    said = "No supervisor has had to decide about it: it has neither crashed nor been restarted"
    if state == "stopped":
        return f"{said}. It was stopped on purpose, or its on_start raised Ignore."
    if state == "finished":
        return f"{said}. It ended by itself, cleanly."
    return f"{said}."


def _cut(lines: list[str], width: int, charset: Charset) -> list[str]:
    """Return no more lines than a message deserves, and how to get the rest."""
    if len(lines) <= _MESSAGE_LINES:
        return lines
    said = f"{charset.ellipsis} (all of it: sprag why --json)"
    return [*lines[:_MESSAGE_LINES], cut(said, width, charset.ellipsis)]


def _story(ruling: Node, path: str) -> Iterator[tuple[str, str, Tone]]:
    """Yield when it was, what happened, and its tone.

    A supervisor decides about a crash when it is up itself: on a first start that may be later.
    """
    decided = text_of(ruling, "at")
    failure = mapping_of(ruling, "failure")
    ended, *judged = _sentences(ruling, path)
    when = text_of(failure, "at") or decided
    yield (when, *ended)
    for line in last_output_of(failure, text_of(ruling, "traceback"))[-_OUTPUT_LINES:]:
        yield when, f"| {line}", Tone.DIM
    for each in judged:
        yield (decided, *each)


def _of_hold(note: Node, path: str) -> tuple[str, str, Tone]:
    held, what, by = text_of(note, "path"), text_of(note, "what"), number_of(note, "by")
    who = "it" if held == path else held
    for_ = number_of(note, "seconds")
    said = {
        "held": f"{who} was held" + ("" if for_ is None else f" for {duration(for_)}"),
        "expired": f"{who} was held no longer: its time was over",
    }.get(what, f"{who} was {what}")
    return text_of(note, "at"), said if by is None else f"{said} by uid {by:g}", Tone.BUSY


def _of_move(note: Node, path: str) -> tuple[str, str, Tone]:
    moved, what, why = text_of(note, "path"), text_of(note, "what"), text_of(note, "because")
    who = "it" if moved == path else moved
    origin = text_of(note, "origin")
    came = f", and came from {origin}" if origin else ""
    said, tone = {
        "begins": (f"runs here from now on{came}", Tone.PLAIN),
        "ends": ("runs here no longer", Tone.PLAIN),
    }.get(what, (what, Tone.BAD))
    return text_of(note, "at"), f"{who} {said}: {why}", tone


def _of_ask(note: Node, path: str) -> tuple[str, str, Tone]:
    asked, what, by = text_of(note, "path"), text_of(note, "what"), text_of(note, "by")
    who = "it" if asked == path else asked
    said = f"{what} of {who} was asked for by {by}"
    if refused := text_of(note, "refused"):
        return text_of(note, "at"), f"{said}, and refused: {refused}", Tone.BAD
    return text_of(note, "at"), said, Tone.BUSY


def _of_replacement(note: Node, path: str) -> Iterator[tuple[str, str, Tone]]:
    at, generation = text_of(note, "at"), count_of(note, "generation")
    replaced, failure = text_of(note, "path"), text_of(note, "failure")
    who = "it" if replaced == path else replaced
    because = text_of(note, "because")
    if not failure:
        yield at, f"{who} was replaced, generation {generation}: {because}", Tone.PLAIN
        return
    yield at, f"{who} was to be replaced, generation {generation}: {because}", Tone.PLAIN
    yield at, f"which does not come up, and who was there serves on: {failure}", Tone.BAD


def _sentences(ruling: Node, path: str) -> Iterator[tuple[str, Tone]]:
    child, supervisor = text_of(ruling, "child"), text_of(ruling, "supervisor")
    who = "it" if child == path else child
    failure = mapping_of(ruling, "failure")
    reason = _REASONS.get(text_of(ruling, "reason"), text_of(ruling, "reason"))
    life = f"{who} {reason} (life {count_of(ruling, 'incarnation')})"
    said = f": {failure_text(failure)}" if failure else ""
    yield f"{life}{said}", Tone.BAD if failure else Tone.PLAIN
    judge = "it" if supervisor == path else supervisor
    decision = text_of(ruling, "decision")
    if decision in {"restart", "back_off"}:
        delay = number_of(ruling, "delay") or 0.0
        after = f"after {delay:.1f} s (backoff)" if decision == "back_off" else "at once"
        yield f"{judge} decided to restart {who} {after}{_along(ruling, path)}", Tone.PLAIN
        restarts = count_of(ruling, "restarts")
        if text_of(ruling, "reason") == "recycled":
            yield "which counts toward no limit: it had lived long enough (max_lifetime)", Tone.DIM
        elif restarts:
            yield f"restart {restarts} {_limit(ruling)}", Tone.DIM
        elif text_of(ruling, "reason") == "crashed":
            yield "which counts against the item that it handled, and toward no limit", Tone.DIM
        else:
            yield "a first start, which counts nothing (retry_start)", Tone.DIM
    elif decision == "give_up":
        used = count_of(ruling, "restarts")
        yield f"{judge} gave up: restart {used} {_limit(ruling)}", Tone.BAD
    elif decision == "gave_up_tries":
        yield f"{judge} lets {who} stay down: {_too_often(ruling)}", Tone.BAD
    elif decision == "escalate":
        yield f"{judge} gave up at once: on_failure says that this is to be escalated", Tone.BAD
    elif decision == "exit":
        yield f"the app was asked to exit: on_failure of {who} says so (ExitApp)", Tone.BAD
    elif decision == "shut_down":
        yield f"{judge} shut down: its significant children have ended (auto_shutdown)", Tone.PLAIN
    elif decision == "keep":
        yield f"{judge} lets {who} stay down: its policy says so (restart, on_failure)", Tone.PLAIN
    else:
        yield f"{judge} decided: {decision.replace('_', ' ')}", Tone.PLAIN


_REASONS: Final = {
    "crashed": "crashed",
    "finished": "finished",
    "start_failed": "failed to start",
    "gave_up": "gave up",
    "shutdown": "shut down",
    "stopped": "was stopped",
    "ignored": "was ignored",
    "recycled": "was recycled",
}


def _too_often(ruling: Node) -> str:
    used, most = count_of(ruling, "restarts"), number_of(ruling, "max_restarts")
    if most is not None and used > most:  # of a Singleton, which lives on
        return f"restart {used} {_limit(ruling)}"
    return "its Backoff allows no more tries"


def _along(ruling: Node, path: str) -> str:
    """Name who was restarted too."""
    given = ruling.get("covered")
    covered = [str(each) for each in cast("list[object]", given)] if isinstance(given, list) else []
    others = [each for each in covered if each != text_of(ruling, "child")]
    count = max(count_of(ruling, "covered_count") - 1, len(others))
    if not count:
        return ""
    named = ["this one" if each == path else each for each in others[:_NAMED]]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f", and with it {', '.join(named)}{more} ({text_of(ruling, 'strategy')})"


def _limit(ruling: Node) -> str:
    within = f"within {seconds(number_of(ruling, 'max_seconds'))}"
    most = number_of(ruling, "max_restarts")
    return f"{within}, which has no limit" if most is None else f"of at most {most:g} {within}"
