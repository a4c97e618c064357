"""``GET /v1/loop``: how late the loop is, how busy, and who holds it, or did last.

With ``?follow=1`` a line every ``?seconds=``, which a native thread writes: also while the loop is
held.
"""

from __future__ import annotations

import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gevent import sleep
from gevent.event import Event

from sprag._defaults import LONGEST_LOOK
from sprag.control.http import Answer, Refused
from sprag.control.loop_watch import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request

_LEAST: Final = 0.1
_LOOK: Final = 1.0
"""Seconds between two looks whether a client is still there."""
_NO: Final = ("", "0", "no", "false")


def answer(desk: Desk, request: Request, has_hung_up: Callable[[], bool]) -> Answer:
    """Watch for ``?seconds=`` and tell; or go on.

    Raises:
        Refused: It is to be followed, and who asks has no connection of its own.
    """
    seconds = min(max(request.seconds("seconds", 1.0) or 0.0, _LEAST), LONGEST_LOOK)
    if request.query.get("follow", "0").lower() in _NO:
        with desk.loop_watch.watching() as loop:
            sleep(seconds)
            return Answer({**desk.about(), **loop.told(time.monotonic(), time.time())})
    connection = getattr(has_hung_up, "fileno", None)
    if connection is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "follow=1 is for who asks over the control socket")
    return Answer(_followed(desk, connection(), seconds, has_hung_up), is_stream=True)


def _followed(
    desk: Desk, connection: int, seconds: float, has_hung_up: Callable[[], bool]
) -> Iterator[bytes]:
    """Have the thread write, once the head of the answer is out; yield nothing."""
    reader = Reader(os.dup(connection), seconds, desk.about())
    is_over = Event()
    desk.farewells.add(is_over.set)
    try:
        with desk.loop_watch.watching(reader):
            while not (is_over.wait(_LOOK) or reader.is_over or has_hung_up()):
                pass
    finally:
        desk.farewells.discard(is_over.set)
        reader.close()
    yield from ()
