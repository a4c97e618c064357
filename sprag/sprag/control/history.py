"""``GET /v1/history``: how the services have fared, from before anybody looked.

Nothing is noted for this: what supervisors have decided, and since when each service is as it is,
tell it well enough. So it is as long as the ledger of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sprag.control.decisions import is_about, node_at
from sprag.control.http import Answer
from sprag.control.pictures import iso
from sprag.control.pieces import looking
from sprag_supervisor import RUNNING, State, clock, path_of, settled, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Node, Pace, Ruling

SECONDS: Final = 900.0
LONGEST: Final = 86_400.0
STEP: Final = 60.0
MOST: Final = 1000
"""Services whose lives are told, …"""
_LIVES: Final = 100
"""… and pieces of each, the latest."""
_COVERED: Final = 50
_RESTARTS: Final = frozenset({"restart", "back_off"})

Piece = tuple[float, float | None, str, str | None]
"""From when to when (None: until now), in which state, and what that ended of."""


class Mark(NamedTuple):
    """The end of a life, as a ruling tells it; times in seconds of the clock that is asked for.

    Attributes:
        ended: When it ended.
        how: What it ended of; ``group``: it went along.
        back: When the next one was to begin; None: no other was to follow.
        life: Which life it was; 0: that is not told.
    """

    ended: float
    how: str
    back: float | None
    life: int = 0


class Now(NamedTuple):
    """How a service is.

    Attributes:
        state: Its state.
        since: Since when; None: nobody knows.
        how: What its last life has ended of, if it is down.
        life: Which life this is, or was.
    """

    state: State
    since: float | None
    how: str | None = None
    life: int = 0


def answer(desk: Desk, request: Request) -> Answer:
    """Tell of the last ``?seconds=``, of all or of those at and below ``?path=``."""
    seconds = min(request.seconds("seconds", SECONDS) or 0.0, LONGEST)
    top = desk.find(request.query.get("path", ""))
    full, now = path_of(top), clock.wall()
    begin = now - seconds
    pace = looking()
    marks: dict[str, list[Mark]] = {}
    counts = [0] * max(int(-(-seconds // STEP)), 1)
    rulings = list(desk.tree.ledger)
    for ruling in rulings:
        pace()
        if ruling.at < begin or not is_about(ruling, full):
            continue
        if ruling.decision in _RESTARTS:
            counts[min(int((ruling.at - begin) / STEP), len(counts) - 1)] += 1
        _note(marks, ruling)
    root, born = desk.root, max(desk.opened_at, begin)
    lives: dict[str, list[Piece]] = {}
    for path in list(marks)[-MOST:]:
        pace()
        node = node_at(root, path)
        lives[path] = lifeline(marks[path], born, None if node is None else _now_of(node, now))
    more = len(marks) - len(lives)
    for _depth, path, node in walk(top):
        pace()
        if path not in marks and (is_now := _newer(node, begin, now)) is not None:
            if len(lives) < MOST:
                lives[path] = lifeline((), born, is_now)
            else:
                more += 1
    is_cut = desk.tree.ledger.first > 1
    return Answer(
        {
            **desk.about(),
            "path": full,
            "from": iso(begin),
            "now": iso(now),
            "complete_from": iso(rulings[0].at) if is_cut and rulings[0].at > begin else None,
            "step": STEP,
            "restarts_per_minute": counts,
            "lives": dict(_lives_told(lives, begin, pace)),
            "more": more,
        }
    )


def _note(marks: dict[str, list[Mark]], ruling: Ruling) -> None:
    back = ruling.at + ruling.delay if ruling.decision in _RESTARTS else None
    failure = ruling.failure
    ended = ruling.at if failure is None else min(failure.at, ruling.at)
    marks.setdefault(ruling.child, []).append(
        Mark(ended, ruling.reason.value, back, ruling.incarnation)
    )
    for path in ruling.covered(_COVERED):
        if path != ruling.child:
            marks.setdefault(path, []).append(Mark(ruling.at, "group", back))


def _now_of(node: Node, wall: float) -> Now:
    state, history = node._state_, node._history_
    is_known = node._incarnation_ > 0 and (state is RUNNING or node._op_ is None)
    since = wall - (clock.now() - node._since_) if is_known else None
    how = state.value if settled(node) else None
    if state is not RUNNING and history is not None and history.exit is not None:
        how = history.exit.reason.value
    return Now(state, since, how, node._incarnation_)


def _newer(node: Node, begin: float, wall: float) -> Now | None:
    """Return how a service is that nobody has decided about, if it was another way before."""
    now = _now_of(node, wall)
    if now.since is None or now.since < begin:
        return None
    is_another = node._incarnation_ > 1 if now.state is RUNNING else settled(node)
    return now if is_another else None


def lifeline(marks: Iterable[Mark], born: float, now: Now | None) -> list[Piece]:
    """Put the pieces of a service's time together, the oldest first.

    Args:
        marks: The ends of its lives, the oldest first.
        born: When it began to be, as far as that is to be told.
        now: How it is; None: it has left.
    """
    pieces: list[Piece] = []
    at, runs, down, life = born, True, "failed", 0
    for mark in marks:
        if runs and mark.ended > at:
            pieces.append((at, mark.ended, "running", mark.how))
        elif not runs and mark.ended > at:
            pieces.append((at, mark.ended, down, None))
        at, runs, life = max(mark.ended, at), mark.back is not None, mark.life
        if mark.back is not None and mark.back > at:
            pieces.append((at, mark.back, "restarting", None))
            at = mark.back
    if now is None:
        return pieces
    if now.state in (State.RESTARTING, State.STARTING) and pieces and pieces[-1][2] == "restarting":
        begun = pieces.pop()[0]
        return [*pieces, (begun, None, now.state.value, None)]
    since = at if now.since is None else max(now.since, at)
    if since > at:
        if now.state is RUNNING:
            # Between two lives it has started; between others somebody has stopped it, who is not
            # heard of here.
            is_next = runs and (not life or now.life == life + 1)
            if pieces:
                pieces.append((at, since, "starting" if is_next else "unknown", None))
        elif runs:
            pieces.append((at, since, "running", now.how))
        else:
            pieces.append((at, since, down, None))
    return [*pieces, (since, None, now.state.value, None)]


def _lives_told(
    lives: dict[str, list[Piece]], begin: float, pace: Pace
) -> Iterator[tuple[str, list[list[float | str | None]]]]:
    for path, pieces in lives.items():
        pace()
        yield path, _told(pieces, begin)


def _told(pieces: list[Piece], begin: float) -> list[list[float | str | None]]:
    return [
        [round(since - begin, 3), None if until is None else round(until - begin, 3), state, how]
        for since, until, state, how in pieces[-_LIVES:]
    ]


def merged(mine: dict[str, Any], others: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of a parent with those of its workers in it."""
    counts, lives, more = list(mine["restarts_per_minute"]), dict(mine["lives"]), mine["more"]
    for other in others:
        more += other["more"]
        for at, count in enumerate(other["restarts_per_minute"][: len(counts)]):
            counts[at] += count
        for path, pieces in other["lives"].items():
            if len(lives) < MOST:
                lives.setdefault(path, pieces)
            else:
                more += 1
    return {**mine, "restarts_per_minute": counts, "lives": lives, "more": more}
