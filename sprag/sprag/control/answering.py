"""What other nodes ask of this one: whether they may, and that it is written down.

They ask what the control socket answers, and get that. ``Cluster(control=)`` says how much of it:
``"off"``, who this node is and its tree, without what failures say; ``"read"``, all that changes
nothing; ``"full"``, all but the end of the app.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sprag.cluster.asking import Reply, refusal
from sprag.control import across, routes, tree
from sprag.control.desk import desk_of
from sprag.control.http import Answer, Refused, Request, unquoted
from sprag_supervisor import AskNote, clock, logger, name_of, path_of, say

if TYPE_CHECKING:
    from sprag.cluster.asks import Ask
    from sprag.control.desk import Desk
    from sprag_supervisor import Node

_READING: Final = ("GET", "HEAD")
_ALWAYS: Final = ("/v1/node", "/v1/tree", "/v1/paths")
"""What is told to all: beside it, nothing that a service has said or was given."""
_NEVER: Final = ("/v1/nodes", "/v1/events")


def reply_to(root: Node, ask: Ask) -> Reply:
    """Answer what another node asks of the tree of *root*. May block; does not raise."""
    try:
        answer = _answer(desk_of(root), ask)
    except Refused as refused:
        return refusal(int(refused.status), str(refused), name=refused.name)
    except Exception:  # noqa: BLE001 - logged, and answered
        logger.exception("another node cannot be answered")
        return refusal(500, "see the app's log")
    return Reply(int(answer.status), answer.text(), answer.is_stream)


def _answer(desk: Desk, ask: Ask) -> Answer:
    beginning, rest = routes.split(ask.path)
    given = unquoted(rest or "") or ask.query.get("path", "")
    member = desk.tree.cluster
    control = "off" if member is None or member.cluster is None else member.cluster.control
    is_reading = ask.method in _READING
    why = _why_not(control, beginning, ask)
    note = None if is_reading and not why else _note(desk, ask, beginning, given, why)
    if why:
        raise Refused(HTTPStatus.FORBIDDEN, why, name="NotAllowed")
    try:
        return _allowed(desk, ask, beginning, given, control)
    except Refused as refused:
        asks = desk.tree.ledger.asks
        if note is not None and note in asks:
            asks[asks.index(note)] = note._replace(refused=str(refused))
        raise


def _allowed(desk: Desk, ask: Ask, beginning: str, given: str, control: str) -> Answer:
    if across.is_far(desk, given):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{given!r} is asked for where it is, not by others")
    request = Request(ask.method, ask.path, ask.query, ask.uid)
    if control == "off" and beginning == "/v1/tree":
        return tree.outline(desk, request)
    return routes.answer(desk, request, bool)


def _why_not(control: str, beginning: str, ask: Ask) -> str:
    """Return why that is not allowed, with what to do; "": it is."""
    if beginning in _NEVER or "cluster" in ask.query:
        return "this is asked for at each node itself"
    if "whole" in ask.query:
        return "no app is ended from another node: 'sprag stop' there does that"
    if control == "full" or (control == "read" and ask.method in _READING):
        return ""
    if control == "read":
        return (
            "other nodes may look and change nothing here (control='read'): do it there, or run "
            "it with Cluster(control='full')"
        )
    if ask.method in _READING and beginning in _ALWAYS:
        return ""
    needed = "read" if ask.method in _READING else "full"
    return (
        "other nodes may see the tree here, and no more (control='off'): ask there, or run it "
        f"with Cluster(control={needed!r})"
    )


def _note(desk: Desk, ask: Ask, beginning: str, given: str, why: str) -> AskNote:
    """Write down, in the ledger and the log, what is asked and by whom."""
    what = beginning.rpartition("/")[2]
    try:
        node = desk.find(given)
        path = path_of(node)
    except Refused:
        node, path = desk.root, given[:500] or name_of(desk.root)
    note = AskNote(clock.wall(), path, what, ask.by, why)
    desk.tree.ledger.asks.append(note)
    level = logging.WARNING if why else logging.INFO
    said = "another node may not do that" if why else "another node asks"
    say(level, node, said, what=what, by=ask.by)
    return note
