"""Reload: who runs reads its configuration again, and nobody is restarted for it.

Parents before children, one after another in the order of their start: what comes later may count
on what came before. A parent's children are looked at when its own `on_reload` is over, which may
have added or stopped some. There is one reload of a tree at a time; who asks meanwhile waits.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast
from weakref import WeakKeyDictionary

from gevent import getcurrent

from sprag._defaults import RELOAD_TIMEOUT
from sprag.exceptions import TaskCancelled, TaskTimeout
from sprag.services.working import Working
from sprag_supervisor import (
    RUNNING,
    Node,
    Pace,
    Parking,
    Record,
    Seconds,
    State,
    Tree,
    as_text,
    class_name,
    clock,
    hook,
    is_a,
    must_be_able_to_wait,
    path_of,
    redacted,
    say,
    seconds_of,
    walk,
)
from sprag_supervisor.exceptions import NotRunning, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.owned.tasks import Task

MOST: Final = 500
"""Entries of a report: thousands of services may reload."""
_LONGEST: Final = 500
"""Characters of what an `on_reload` has raised."""

Reloaded: TypeAlias = Literal["reloaded", "failed", "late", "skipped", "planned"]


class ReloadEntry(Record):
    """What a reload was to one service that has an `on_reload`.

    Attributes:
        path: The service.
        incarnation: Which life of it.
        outcome: ``"reloaded"``; ``"failed"``: it has raised; ``"late"``: it was not over in time,
            or its turn came too late; ``"skipped"``: it does not run; ``"planned"``: it would be
            reloaded.
        state: Its state when its turn came.
        seconds: How long its `on_reload` took.
        detail: What it has raised, or why it is late or skipped; of the app of ``sprag up`` what
            has changed in its file.
    """

    path: str
    incarnation: int
    outcome: Reloaded
    state: State
    seconds: float = 0.0
    detail: str = ""


class ReloadReport(Record):
    """What a reload did, service by service.

    Attributes:
        reloaded: How many have reloaded; with ``dry_run``, how many would.
        failed: How many have raised.
        late: For how many there was not enough time.
        skipped: How many do not run.
        seconds: How long it took.
        entries: One for each of them, in order; the first 500.
        left_out: How many more entries there would be.
    """

    reloaded: int = 0
    failed: int = 0
    late: int = 0
    skipped: int = 0
    seconds: float = 0.0
    entries: tuple[ReloadEntry, ...] = ()
    left_out: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether all that run have reloaded."""
        return not self.failed and not self.late


class Reread(NamedTuple):
    """What the `on_reload` of an app has done, or would do, that comes from a file.

    Attributes:
        said: What has changed, in words.
        fault: What is wrong, and has been logged; "": nothing is.
        started: The paths of those that it has started, each with a slash at its end: they, and all
            below them, have read their configuration just now.
    """

    said: str = ""
    fault: str = ""
    started: tuple[str, ...] = ()


class Reloading(Working):
    """The part of a service that reads its configuration again."""

    __slots__ = ()
    _keeps_slots_ = True
    _is_part_ = True

    @hook
    def on_reload(self) -> None:
        """Hook: read the configuration again. For ``sprag reload``, and SIGHUP without a terminal.

        Parents before children, one after another, while the service runs; as a task of mine, so
        I may acquire things, and it ends with me. May block, as long as the time of the reload
        lasts; then it is killed. An exception is logged and told to who asks, and is no crash:
        what was set until then stays, so look at all that is new before you take it over.
        """

    def _plan_of_reload_(self) -> Reread:
        """Say what an `on_reload` would do, if more is known than that there is one."""
        return Reread()

    def reload_tree(
        self, timeout: Seconds | None = RELOAD_TIMEOUT, *, dry_run: bool = False
    ) -> ReloadReport:
        """Have `on_reload` run in me and in all below me that run and have one, parents first.

        One after another, in the order of the tree. What one raises is logged and in the report,
        and the others go on. Who does not run is skipped: it reads its configuration when it
        starts. Blocks until all are done; a reload of the tree that is under way is waited for.

        Args:
            timeout: Seconds for all together, after which the one whose turn it is is killed, and
                the others are not asked any more; None for no limit.
            dry_run: Only tell who would be reloaded, and in which order.

        Returns:
            What became of each.

        Raises:
            NotRunning: I have never been part of a tree.
            BadValue: *timeout* is negative, or no time.
            WouldDeadlock: The caller is an `on_reload` that a reload of this tree waits for.
            CalledInHub: The caller is a callback of the loop or a signal handler in the hub.
        """
        within = None
        if timeout is not None:
            within = seconds_of("timeout", timeout, 0.0, endless=True, also=", or None")
        must_be_able_to_wait(self, "reload it")
        if self._tree_ is None:
            remedy = "start it first"
            raise NotRunning(path_of(self), self._state_.value, "reload it", remedy)
        return plan(self) if dry_run else reload(self, self._tree_, within)


def plan(node: Node) -> ReloadReport:
    """Tell who at and below *node* would be reloaded, in order."""
    notes = _Notes()
    pace = Pace()
    for _, path, each in walk(node):
        pace()
        if _has_hook(each):
            _plan_one(cast("Reloading", each), path, notes)
    return notes.report()


def reload(node: Node, tree: Tree, within: float | None, **asked: Any) -> ReloadReport:
    """Reload *node* and all below it, as `Reloading.reload_tree` tells.

    Args:
        node: The topmost.
        tree: Its tree.
        within: Seconds for all together; None for no limit.
        asked: Who has asked for it, for the log.
    """
    notes = _Notes()
    until = None if within is None else notes.began + within
    started: tuple[str, ...] = ()
    pace = Pace()
    with _turn(node, tree, until) as line:
        for _, path, each in walk(node):
            pace()
            if not _has_hook(each):
                continue
            if each._state_ is not RUNNING:
                notes.take(each, path, "skipped", _NOT_UP)
            elif line is None or (until is not None and clock.now() >= until):
                notes.take(each, path, "late", "its turn did not come in time")
            elif f"{path}/".startswith(started):
                notes.take(each, path, "skipped", "it has started just now")
            else:
                started += _reload_one(cast("Reloading", each), path, until, line, notes)
    report = notes.report()
    say(
        logging.INFO if report.is_clean else logging.WARNING,
        node,
        "reload is over",
        reloaded=report.reloaded,
        failed=report.failed,
        late=report.late,
        skipped=report.skipped,
        seconds=round(report.seconds, 3),
        **asked,
    )
    return report


_NOT_UP: Final = "it does not run"


def _has_hook(node: Node) -> bool:
    ours = Reloading.on_reload
    return getattr(type(node), "on_reload", ours) is not ours


def _plan_one(node: Reloading, path: str, notes: _Notes) -> None:
    if node._state_ is not RUNNING:
        notes.take(node, path, "skipped", _NOT_UP)
        return
    done = node._plan_of_reload_()
    notes.take(node, path, "failed" if done.fault else "planned", done.fault or done.said)


def _reload_one(
    node: Reloading, path: str, until: float | None, line: _Line, notes: _Notes
) -> tuple[str, ...]:
    """Have one reload; return the paths of those that it has started."""
    incarnation, began = node._incarnation_, clock.now()
    note = notes.entry(node, path)
    task: Task[object] | None = None
    try:
        task = line.task = Working.task(node, node.on_reload)
        done = task.get(None if until is None else max(until - began, 0.0))
    except BaseException as error:
        is_under_way = task is not None and not task.done
        is_its_own = task is not None and task._error is error
        if is_under_way and not is_a(error, TaskTimeout):
            raise  # a bug of sprag's, or for who asks: a kill, a timeout of theirs
        if not is_its_own and not is_a(error, Exception):
            raise
        has_ended = node._incarnation_ != incarnation or node._state_ is not RUNNING
        took = clock.now() - began
        if is_under_way:
            say(logging.ERROR, node, "on_reload takes too long: killed", seconds=round(took, 3))
            note("late", "its time was over", took)
        elif has_ended and (
            is_a(error, NotRunning) or (is_a(error, TaskCancelled) and not is_its_own)
        ):
            note("skipped", "it has ended meanwhile", took)
        else:
            say(logging.ERROR, node, "on_reload failed", error)
            said = redacted(f"{class_name(type(error))}: {as_text(error)}")[:_LONGEST]
            note("failed", said, took)
    else:
        told = done if type(done) is Reread else Reread()
        outcome: Reloaded = "failed" if told.fault else "reloaded"
        note(outcome, told.fault or told.said, clock.now() - began)
        return told.started
    finally:
        line.task = None
        if task is not None:
            task.cancel()
    return ()


class _Notes:
    """What is told of a reload, as it goes on."""

    def __init__(self) -> None:
        self.began = clock.now()
        self._counts: Counter[Reloaded] = Counter()
        self._entries: list[ReloadEntry] = []

    def take(self, node: Node, path: str, outcome: Reloaded, detail: str) -> None:
        self.entry(node, path)(outcome, detail)

    def entry(self, node: Node, path: str) -> Callable[..., None]:
        """Return what takes the outcome for *node* as it is now, when its turn has come."""
        state, incarnation = node._state_, node._incarnation_

        def take(outcome: Reloaded, detail: str, seconds: float = 0.0) -> None:
            self._counts[outcome] += 1
            if len(self._entries) < MOST:
                entry = ReloadEntry(path, incarnation, outcome, state, round(seconds, 6), detail)
                self._entries.append(entry)

        return take

    def report(self) -> ReloadReport:
        counts = self._counts
        return ReloadReport(
            reloaded=counts["reloaded"] + counts["planned"],
            failed=counts["failed"],
            late=counts["late"],
            skipped=counts["skipped"],
            seconds=clock.now() - self.began,
            entries=tuple(self._entries),
            left_out=counts.total() - len(self._entries),
        )


# -- one at a time -------------------------------------------------------------------


class _Line:
    """Who reloads a tree, and who waits for the end of that."""

    def __init__(self) -> None:
        self.task: Task[object] | None = None
        """The `on_reload` that runs now."""
        self.is_taken = False
        self.waiting: list[Parking] = []

    def give(self) -> None:
        """Let the next one reload."""
        self.is_taken = False
        for parking in self.waiting:
            parking.poke()


_lines: Final[WeakKeyDictionary[Tree, _Line]] = WeakKeyDictionary()


@contextmanager
def _turn(node: Node, tree: Tree, until: float | None) -> Generator[_Line | None]:
    """Wait for the turn to reload *tree*; yield None if it has not come in time."""
    line = _lines.setdefault(tree, _Line())
    if line.task is not None and line.task._maker is not None:  # noqa: SIM102
        if line.task._maker.runs_in(getcurrent()):
            raise WouldDeadlock(path_of(node), "reload it")
    while line.is_taken and (until is None or clock.now() < until):
        parking = Parking()
        line.waiting.append(parking)
        try:
            parking.park(until)
        finally:
            line.waiting.remove(parking)
    if line.is_taken:
        yield None
        return
    try:
        try:
            line.is_taken = True
            yield line
        finally:
            line.give()
    except BaseException:
        line.give()  # again: a signal handler may have raised at the first one
        raise
