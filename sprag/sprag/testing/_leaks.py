"""Find what a block of code has left behind."""

from __future__ import annotations

import gc
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast
from weakref import ref

import gevent
import greenlet
from gevent.hub import Hub

from sprag._native import sleep_thread
from sprag.testing._loop import VirtualLoop
from sprag_supervisor import all_of, idle_greenlets, is_a

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

_DESCRIPTORS: Final = Path("/proc/self/fd")
_TASKS: Final = Path("/proc/self/task")

# A greenlet that was told to end may need a few turns of the loop, and garbage a collection. A
# native thread that has just opened a file, to read how much memory there is or a line of a source
# for a stack, needs the interpreter, and maybe a processor, to close it.
_PAUSES: Final = 0.0, 0.01, 0.05
"""Real seconds for other threads, before each further look."""
_STACK_DEPTH: Final = 12


class LeakCheck:
    """A block that must leave nothing behind.

    Takes stock at its beginning and again at its end, and fails naming each leftover: ::

        with virtual_time(), LeakCheck():
            app.start()
            app.stop()

    Looked at are

    - greenlets: alive, or waiting to be started; each is shown with its stack. sprag's own
      idle greenlets, which go away by themselves, do not count;
    - the current loop: timers and other watchers that keep it alive (not those with
      ``ref=False``). A virtual loop names its timers, any other only their number;
    - descriptors: of this process, by number and target. On Linux only;
    - child processes: running, or dead and not waited for. On Linux only. They are not
      reaped.

    Before it fails, it collects garbage and lets the loop go round a few times at the same
    moment, so that what is about to end can do so, and other native threads have a twentieth of a
    second. It does not wait longer in time: give processes and real sockets time to end before
    the block does. Other native threads should be quiet, since their greenlets count as well.

    Attributes:
        baseline: What there was at the beginning.
    """

    def __init__(self) -> None:
        """Look at nothing yet."""
        self.baseline: Stock | None = None

    def __enter__(self) -> Self:
        """Take stock."""
        self.baseline = Stock.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Fail if anything was left; but not when the block itself has failed."""
        if kind is None:
            self.assert_no_leaks()

    def assert_no_leaks(self) -> None:
        """Compare with the beginning. Can be called within the block, more than once.

        Blocks for a few turns of the loop at most, and, before it fails, for 60 ms of real time.

        Raises:
            AssertionError: There is something now that was not there at the beginning.
            RuntimeError: The block has not begun.
        """
        if self.baseline is None:
            msg = "enter the block first: with LeakCheck() as check: ..."
            raise RuntimeError(msg)
        leftovers = list(self.baseline.leftovers())
        for pause in _PAUSES:
            if not leftovers:
                return
            del leftovers  # it names, and so might keep, what is about to go
            gc.collect()
            gevent.sleep(0)
            sleep_thread(pause)
            leftovers = list(self.baseline.leftovers())
        if leftovers:
            things = "1 thing was" if len(leftovers) == 1 else f"{len(leftovers)} things were"
            raise AssertionError("\n".join([f"{things} left behind:", *leftovers]))


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is in this process at one moment."""

    greenlets: dict[int, ref[greenlet.greenlet]]
    """By id: of a kind of a user's own they may have no hash."""
    loop: Any
    active: int
    timers: tuple[object, ...]
    descriptors: frozenset[tuple[int, str]]
    children: frozenset[int]

    @classmethod
    def take(cls) -> Self:
        """Return what there is now."""
        loop: Any = gevent.get_hub().loop
        return cls(
            greenlets={id(one): ref(one) for one in _live_greenlets()},
            loop=loop,
            active=_active(loop),
            timers=tuple(_timers(loop)),
            descriptors=frozenset(_descriptors()),
            children=frozenset(_children()),
        )

    def leftovers(self) -> Iterator[str]:
        """Yield a description of each thing there is now and was not then."""
        ignored = {id(one) for one in _ignored()}
        for one in _live_greenlets():
            before = self.greenlets.get(id(one))
            is_known = before is not None and before() is one
            if not is_known and id(one) not in ignored:
                yield _describe_greenlet(one)
        yield from self._loop_leftovers()
        for number, target in sorted(set(_descriptors()) - self.descriptors):
            yield f"- descriptor {number} -> {target}"
        for pid in sorted(set(_children()) - self.children):
            yield f"- child process {pid}: {_command(pid)}"

    def _loop_leftovers(self) -> Iterator[str]:
        loop: Any = gevent.get_hub().loop
        excess = _active(loop) - (self.active if loop is self.loop else 0)
        known = set(map(id, self.timers))
        for timer in _timers(loop):
            if id(timer) not in known:
                excess -= 1
                yield f"- timer {timer!r}"
        if excess > 0:
            yield f"- {excess} active timer(s) or other watcher(s) of {loop!r}"


def _ignored() -> Collection[greenlet.greenlet]:
    return idle_greenlets()


def _active(loop: Any) -> int:
    """Return how many watchers keep *loop* alive, leaving out what is merely queued to run."""
    queued = loop.queued if isinstance(loop, VirtualLoop) else len(loop._callbacks)
    return cast("int", loop.activecnt) - queued


def _timers(loop: object) -> list[Any]:
    if not isinstance(loop, VirtualLoop):
        return []
    return [timer for timer in loop.active_timers() if timer.ref]


def _live_greenlets() -> list[greenlet.greenlet]:
    """Return the greenlets that have something left to do, but for this one and the hubs."""
    mine: set[int] = set()
    current: greenlet.greenlet | None = greenlet.getcurrent()
    while current is not None:
        mine.add(id(current))
        current = current.parent
    return [
        thing
        for thing in all_of(greenlet.greenlet)
        if not is_a(thing, Hub)
        and id(thing) not in mine
        and thing.parent is not None
        # True from the first switch to the end; in gevent's greenlets from start() on.
        and thing
    ]


def _describe_greenlet(one: greenlet.greenlet) -> str:
    frame = one.gr_frame
    if frame is None:
        # Compiled code, such as gevent's own, has no frames to show.
        begun = greenlet.greenlet.__bool__(one)
        where = "waiting in compiled code" if begun else "not begun yet"
        return f"- greenlet {one!r}, {where}"
    stack = "".join(traceback.format_stack(frame, limit=_STACK_DEPTH))
    return f"- greenlet {one!r}, waiting at\n{stack.rstrip()}"


def _descriptors() -> Iterator[tuple[int, str]]:
    if not _DESCRIPTORS.exists():
        return
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - Path.iterdir needs one for longer
        try:
            yield int(name), os.readlink(_DESCRIPTORS / name)  # noqa: PTH115 - not a path
        except OSError:
            continue  # the one that listdir itself used


def _children() -> Iterator[int]:
    for path in _TASKS.glob("*/children"):
        try:
            text = path.read_text()
        except OSError:
            continue  # a thread that has just ended
        yield from map(int, text.split())


def _command(pid: int) -> str:
    process = Path("/proc") / str(pid)
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        name = (process / "comm").read_text().strip()
    except (OSError, IndexError):
        return "gone meanwhile"
    if state == "Z":
        return f"{name}, dead but not waited for"
    return command.strip() or name
