"""Count how far one step of the engine's work goes: modules touched, moves between them, calls.

    python tests/walks.py              print the table of docs/internals.md
    python tests/walks.py --write      put it there
    python tests/walks.py --show crash print each call of one walk, in order

A move is a call in another module than the call before. Counted are the calls of Python functions
in the engine and the library. `tests/test_docs_facts.py` compares the table with the code.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
import greenlet
from gevent.event import Event

import sprag

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import FrameType

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "internals.md"
HEAD: Final = "| step | modules | moves | calls | at most |\n|---|---|---|---|---|\n"
_INLINED: Final = ("<listcomp>", "<dictcomp>", "<setcomp>")  # from Python 3.12 on no calls


class Bound(NamedTuple):
    """What is wanted of a walk; 0: nothing."""

    modules: int = 0
    moves: int = 0


class Walk(NamedTuple):
    """The calls of one step, in order: module and function of each."""

    calls: tuple[tuple[str, str], ...]

    @property
    def modules(self) -> int:
        return len({module for module, _ in self.calls})

    @property
    def moves(self) -> int:
        return sum(one[0] != other[0] for one, other in pairwise(self.calls))


STEPS: Final = {
    "adopt": ("`adopt` of a service that sets a timer, till it runs", Bound(modules=8)),
    "emit": ("`emit` to one listener", Bound()),
    "crash": ("a greenlet of it crashes, till it runs again", Bound(12, 30)),
    "crash-listener": ("a listener of it crashes, till it runs again", Bound(12, 30)),
    "stop": ("its `stop()`", Bound()),
}


class Leaf(sprag.Service):
    """Has a timer and a listener's crash to offer, and says when it is up."""

    up: Event

    def on_start(self) -> None:
        self.timeout(self.boom, 1000)
        self.up.set()

    def boom(self, _data: object = None) -> None:
        raise ValueError("x")


class Frail(Leaf):
    """Crashes when it is told to."""

    def on_start(self) -> None:
        self.listen("crash", self.boom)
        self.up.set()


class Ear(sprag.Service):
    """Hears, and does nothing."""

    def on_start(self) -> None:
        self.listen("heard", self.on_heard)

    def on_heard(self, _data: object) -> None:
        pass


def walks() -> dict[str, Walk]:
    """Take each step once, after all have been taken once unseen."""
    _taken()
    return _taken()


def _taken() -> dict[str, Walk]:
    found: dict[str, Walk] = {}
    with sprag.Supervisor(max_restarts=10) as top, contextlib.redirect_stderr(io.StringIO()):
        leaf, frail = Leaf(), Frail()
        leaf.up, frail.up = Event(), Event()
        Leaf.up = frail.up
        top.adopt(Ear())
        top.adopt(frail)
        with _walked(found, "adopt"):
            top.adopt(leaf)
        with _walked(found, "emit"):
            top.emit("heard", 1)
        with _walked(found, "crash"), _comes_up(leaf):
            leaf.spawn(leaf.boom)
        with _walked(found, "crash-listener"), _comes_up(frail):
            top.emit("crash")
        with _walked(found, "stop"):
            leaf.stop()
    return found


@contextlib.contextmanager
def _comes_up(leaf: Leaf) -> Generator[None]:
    Leaf.up = Event()
    yield
    if not Leaf.up.wait(10):
        raise AssertionError(f"{leaf} did not come up again")
    gevent.sleep(0.01)  # the last steps of its start


@contextlib.contextmanager
def _walked(found: dict[str, Walk], step: str) -> Generator[None]:
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        module: str = frame.f_globals.get("__name__", "")
        is_call = event == "call" and module.startswith(("sprag_supervisor", "sprag."))
        if is_call and frame.f_code.co_name not in _INLINED:
            calls.append((module, frame.f_code.co_qualname))

    def switched(_event: str, _greenlets: Any) -> None:
        sys.setprofile(note)  # each greenlet has a profile function of its own

    before = greenlet.settrace(switched)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        greenlet.settrace(before)
    found[step] = Walk(tuple(calls))


def rows(found: dict[str, Walk]) -> Iterator[str]:
    """Yield the rows of the table."""
    for step, walk in found.items():
        said, bound = STEPS[step]
        wanted = [f"{value} {what}" for what, value in bound._asdict().items() if value]
        cells = said, walk.modules, walk.moves, len(walk.calls), ", ".join(wanted)
        yield f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |")


def write(text: str) -> None:
    """Put the table where the page has one."""
    page = PAGE.read_text(encoding="utf-8")
    before, head, rest = page.partition(HEAD)
    if not head:
        raise SystemExit(f"{PAGE} has no table that begins with\n{HEAD}")
    after = dropwhile(lambda line: line.startswith("|"), rest.splitlines(keepends=True))
    PAGE.write_text(before + text + "".join(after), encoding="utf-8")


def main() -> None:
    """Print the table, or one walk."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.add_argument("--show", choices=STEPS, help="print the calls of one walk")
    given = parser.parse_args()
    found = walks()
    if given.show:
        last = ""
        for module, function in found[given.show].calls:
            print(f"{module if module != last else '':42}{function}")
            last = module
        return
    text = HEAD + "".join(f"{row}\n" for row in rows(found))
    if given.write:
        write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
