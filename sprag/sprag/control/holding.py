"""``POST /v1/hold/PATH?for=SECONDS`` and ``/v1/release/PATH``: exits that wait, for who debugs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sprag.control.http import Answer, Refused
from sprag.control.pictures import hold_to_json
from sprag_supervisor import LEAST, Hold, hold_exits, hold_of, name_of, path_of, release_exits
from sprag_supervisor.exceptions import BadValue, NotRunning

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Node


def hold(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Hold a service, with ``?for=`` for so many seconds."""
    node = desk.find(path)
    seconds = request.seconds("for")
    if seconds is not None and seconds < LEAST:
        accepted = f"{LEAST:g} seconds or more, or leave it out for no limit"
        message = f"for={seconds:g} is not accepted: use {accepted}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    before = hold_of(node)
    try:
        found = hold_exits(node, seconds, request.by)
    except (BadValue, NotRunning) as error:
        raise Refused(HTTPStatus.CONFLICT, str(error), name=type(error).__name__) from error
    was = None if before is None or before.path != found.path else before
    return _answer(desk, found.path, node, found, was)


def release(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Release a service, or a path where none is any more."""
    node: Node | None = None
    try:
        node = desk.find(path)
        full = path_of(node)
    except Refused as refused:
        full = _held_path(desk, path)
        if refused.status is not HTTPStatus.NOT_FOUND or not full:
            raise
    was = release_exits(desk.tree, full, request.by)
    return _answer(desk, full, node, None if node is None else hold_of(node), was)


def _held_path(desk: Desk, path: str) -> str:
    """Return the held path that *path* means, where there is no such service; "" for none."""
    holds = desk.tree.holds
    given = path.strip("/")
    for full in (given, f"{name_of(desk.root)}/{given}"):
        if holds is not None and full in holds.by_path:
            return full
    return ""


def _answer(
    desk: Desk, path: str, node: Node | None, held: Hold | None, was: Hold | None
) -> Answer:
    told: dict[str, Any] = {
        "path": path,
        "state": None if node is None else node._state_.value,
        "held": None if held is None else hold_to_json(held),
        "was": None if was is None else hold_to_json(was),
    }
    return Answer({**desk.about(), **told})
