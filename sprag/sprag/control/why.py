"""``GET /v1/why/PATH``: the ledger of causes, as far as it concerns one service."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from sprag.control.http import Answer, Refused
from sprag.control.pictures import failure_to_json, finite, iso
from sprag.control.pieces import looking
from sprag_supervisor import name_of, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.control.desk import Desk
    from sprag_supervisor import Ruling

_MOST: Final = 100
_COVERED: Final = 50


def answer(desk: Desk, path: str) -> Answer:
    """Return the last rulings about the service, also if it has left the tree since.

    Raises:
        Refused: It was never there; or the path can mean two.
    """
    unknown: Refused | None = None
    state: str | None = None
    try:
        node = desk.find(path)
    except Refused as refused:
        if refused.status is not HTTPStatus.NOT_FOUND:
            raise
        unknown = refused
        full = path.strip("/")
        root = name_of(desk.root)
        paths = {full, full if full.startswith(f"{root}/") else f"{root}/{full}"}
    else:
        state = node._state_.value
        full = path_of(node)
        paths = {full}
    rulings, count = _rulings(desk, paths)
    holds = [each for each in desk.tree.ledger.holds if any(map(each.concerns, paths))]
    moves = [each for each in desk.tree.ledger.moves if any(map(each.concerns, paths))]
    asks = [each for each in desk.tree.ledger.asks if any(map(each.concerns, paths))]
    replaced = [each for each in desk.tree.ledger.replacements if any(map(each.concerns, paths))]
    if unknown is not None and not (count or holds or moves or asks or replaced):
        raise unknown
    return Answer(
        {
            **desk.about(),
            "path": full,
            "state": state,
            "count": count,
            "rulings": list(_rulings_told(rulings, full)),
            "holds": [{**note._asdict(), "at": iso(note.at)} for note in holds],
            "moves": [{**note._asdict(), "at": iso(note.at)} for note in moves],
            "asks": [{**note._asdict(), "at": iso(note.at)} for note in asks],
            "replacements": [{**note._asdict(), "at": iso(note.at)} for note in replaced],
        }
    )


def _rulings(desk: Desk, paths: set[str]) -> tuple[deque[Ruling], int]:
    pace = looking()
    last: deque[Ruling] = deque(maxlen=_MOST)
    count = 0
    for ruling in desk.tree.ledger:
        if any(ruling.concerns(path) for path in paths):
            last.append(ruling)
            count += 1
        pace()
    return last, count


def _rulings_told(rulings: deque[Ruling], path: str) -> Iterator[dict[str, Any]]:
    pace = looking()
    for ruling in rulings:
        pace()
        yield _told(ruling, path)


def _told(ruling: Ruling, path: str) -> dict[str, Any]:
    failure = None if ruling.failure is None else failure_to_json(ruling.failure)
    return {
        "at": iso(ruling.at),
        "supervisor": ruling.supervisor,
        "child": ruling.child,
        "incarnation": ruling.incarnation,
        "reason": ruling.reason.value,
        "failure": failure,
        "traceback": None if ruling.failure is None else ruling.failure.format(),
        "decision": ruling.decision,
        "strategy": ruling.policy.strategy,
        "covered": ruling.covered(_COVERED),
        "covered_count": ruling.covered_count,
        "restarts": ruling.restarts,
        "max_restarts": finite(ruling.policy.max_restarts),
        "max_seconds": finite(ruling.policy.max_seconds),
        "delay": round(ruling.delay, 3),
        "is_own": ruling.child == path,
    }
