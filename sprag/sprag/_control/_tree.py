"""``GET /v1/tree``: the living tree, or a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag._control._http import Answer
from sprag._control._pace import Pace, chunks
from sprag._json import encode
from sprag_supervisor import snapshot

if TYPE_CHECKING:
    from sprag._control._desk import Desk
    from sprag._control._http import Request


def answer(desk: Desk, request: Request) -> Answer:
    """Return the tree below ``?path=``, the root without it, as nested nodes."""
    node = desk.find(request.query.get("path", ""))
    pace = Pace()
    picture = snapshot(node, pause=pace)
    return Answer(chunks(encode(picture, **desk.about()), pace))
