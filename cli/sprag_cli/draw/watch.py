"""The loop of ``--watch``: in place on a terminal, one picture per change on a pipe."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TextIO

from sprag_cli.app.told import Node, list_of, mapping_of, text_of, walk
from sprag_cli.term.cells import joined
from sprag_cli.term.fullscreen import full_screen
from sprag_cli.term.output import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sprag_cli.app.client import RunningApp
    from sprag_cli.term.screen import Screen


@dataclass(frozen=True, slots=True)
class Frame:
    """One look at the tree.

    Attributes:
        text: The picture (or the JSON), with a newline after each line.
        facts: What the picture says, ages left out: two looks with the same facts differ in
            nothing but the time that has passed.
        screen: What it was drawn for.
        silent: For how many seconds at least the app has not answered since then.
    """

    text: str
    facts: tuple[object, ...]
    screen: Screen
    silent: float = 0.0

    def late(self, timeout: float) -> Frame:
        """Return this frame as it is to be shown after *timeout* more seconds without answer."""
        return replace(self, silent=self.silent + timeout)


def facts_of(node: Node, depth: int | None = None) -> tuple[object, ...]:
    """Return what a picture of *node* says, ages left out.

    Args:
        node: Where the picture begins.
        depth: How many levels it shows. ``None`` means all.
    """
    facts: list[object] = []
    for each, trail in walk(node, depth):
        failure = mapping_of(each, "last_failure")
        facts += [len(trail), *(text_of(each, key) for key in ("name", "class", "state"))]
        facts += [each.get("incarnation"), each.get("restarts"), failure.get("at")]
        facts += [len(list_of(each, "stragglers")), *sorted(mapping_of(each, "owned").items())]
    return tuple(facts)


def on_terminal(
    frames: Iterable[Frame],
    stream: TextIO,
    app: RunningApp,
    interval: float,
    *,
    clock: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
) -> None:
    """Show each frame in place of the one before, and leave the last one on the screen.

    Args:
        frames: What to show; iterating waits between two looks.
        stream: A terminal.
        app: Whose tree it is, for the title.
        interval: Seconds between two looks, for the title.
        clock: Says the time of day, for the title.
    """
    with full_screen(stream) as place:
        for frame in frames:
            title = [str(app), clock(), "Ctrl-C ends", f"every {interval:g} s"]
            if frame.silent:
                title[2:] = [f"no answer for {frame.silent:g} s"]
            place.draw(_page(frame.text, title, frame.screen), frame.text)


def on_pipe(frames: Iterable[Frame], stream: TextIO) -> None:
    """Write a frame whenever its facts differ from those of the one before.

    Pictures of several lines are set off by an empty one.
    """
    facts: tuple[object, ...] | None = None
    for frame in frames:
        if frame.facts == facts:
            continue
        if facts is not None and frame.text.count("\n") > 1:
            put(stream, "\n")
        facts = frame.facts
        put(stream, frame.text)


def _page(text: str, title: list[str], screen: Screen) -> list[str]:
    def fitted(*parts: str) -> str:
        safe = list(map(screen.charset.safe, parts))
        return joined(safe, screen.charset.between, screen.width, screen.charset.ellipsis)

    lines = text.splitlines()
    room = screen.height - 1
    if len(lines) > room:
        kept = max(room - 1, 0)
        more = f"{len(lines) - kept} more lines"
        lines = [*lines[:kept], fitted(more, "narrow down with PATH, --depth or --failed")]
    return [fitted(*title), *lines]
