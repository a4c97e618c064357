"""``GET /v1/tree``: the living tree, or a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag.control import forwarding
from sprag.control.http import Answer
from sprag.control.pictures import encode
from sprag.control.pieces import chunks, looking
from sprag_supervisor import pictures

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Snapshot


def answer(desk: Desk, request: Request) -> Answer:
    """Return the tree below ``?path=``, the root without it, as nested nodes.

    The services are looked at one after another while the answer is sent; one that changes
    meanwhile is told as it was when its turn came.
    """
    node = desk.find(request.query.get("path", ""))
    extra = {**desk.about(), **desk.process()}
    if (of_workers := forwarding.tree(desk, node, extra)) is not None:
        return of_workers
    pace = looking()
    return Answer(chunks(encode(pictures(node), **extra), pace))


def outline(desk: Desk, request: Request) -> Answer:
    """Return the same without what failures say: they may hold what is of nobody's business."""
    node = desk.find(request.query.get("path", ""))
    told = ((depth, _outlined(each)) for depth, each in pictures(node))
    return Answer(chunks(encode(told, **desk.about(), **desk.process()), looking()))


def _outlined(node: Snapshot) -> Snapshot:
    failure = node.last_failure
    if failure is None or not failure.message:
        return node
    return node._replace(failures=(failure._replace(message=""),))
