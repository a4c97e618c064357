"""``GET /v1/stacks``: where every greenlet is, by service.

A greenlet belongs to the service in whose context it runs: owned ones, hooks, calls of
timers and of listeners alike. The others are told apart: sprag's own, and those that
belong to nobody. What has swallowed its kill is marked as a straggler. Greenlets with one
and the same stack are told once, with their number.
"""

from __future__ import annotations

import linecache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from gevent import Greenlet, get_hub, getcurrent
from gevent.hub import Hub
from greenlet import greenlet

from sprag.control.http import Answer
from sprag.control.owner import owner_of
from sprag.control.pieces import looking
from sprag_supervisor import (
    Managed,
    Pace,
    Starting,
    Worker,
    everything,
    frame_of,
    held_by,
    idle_greenlets,
    is_a,
    is_dead,
    is_within,
    left_behind,
    module_of,
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag_supervisor import Node

_FRAMES: Final = 60
_STACKS: Final = 500
"""Different stacks in one answer."""
_OURS: Final = ("sprag.", "sprag_supervisor.", "sprag_cli.")
_HOOKS: Final = ("on_start", "on_ready", "on_drain", "on_stop")

_Frame = tuple["CodeType", int, bool]
_Key = tuple[str, str, tuple[_Frame, ...]]


def answer(desk: Desk, request: Request) -> Answer:
    """Return the stacks at and below ``?path=``; without it, also those of no service."""
    wanted = request.query.get("path", "")
    node = desk.find(wanted)
    pace = looking()
    found: dict[_Key, int] = {}
    for one in _greenlets(pace):
        pace()
        frame = frame_of(one)
        if frame is None:
            continue  # has not begun, has ended, or runs: it is this one
        owner = owner_of(one, desk.root._tree_)
        if wanted and not is_within(owner, node):
            continue
        frames = tuple(_frames(frame))
        path, what = _place(one, owner, frames)
        key = (path, what + _if_straggler(one), frames)
        found[key] = found.get(key, 0) + 1
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[0][1], -item[1]))
    return Answer(
        {
            **desk.about(),
            "path": path_of(node),
            "greenlets": sum(found.values()),
            "count": len(ordered),
            "stacks": [_told(key, number, pace) for key, number in islice(ordered, _STACKS)],
        }
    )


def _greenlets(pace: Pace) -> Iterator[Any]:
    idle = {id(worker) for worker in idle_greenlets()}
    me = getcurrent()
    for one in everything():
        pace()
        if is_a(one, greenlet) and one is not me and not is_dead(one) and id(one) not in idle:
            yield one


def _place(one: Any, owner: Node | None, frames: tuple[_Frame, ...]) -> tuple[str, str]:
    """Return the path of the service, "" for none, and what the greenlet is there."""
    if owner is None:
        if is_a(one, Hub):
            return "", "hub"
        if is_a(one, Worker) or _is_ours(frames):
            return "", "sprag"
        return "", "main" if one is get_hub().parent else "nobody's"
    path = path_of(owner)
    if is_a(one, Managed):
        return path, one.step
    operation = owner._op_
    call = one.call if is_a(one, Worker) else None
    if is_a(operation, Starting) and operation is call:
        return path, "on_start"
    names = [code.co_name for code, _line, ours in frames if not ours]
    if names and names[0] in _HOOKS:
        return path, names[0]
    held = held_by(owner)
    if call is not None and held is not None and call in (held.calls or ()):
        return path, str(call.step)
    return path, "greenlet" if is_a(one, Greenlet) else "clean-up"


def _if_straggler(one: Any) -> str:
    """Tell a greenlet that has swallowed its kill from those of the life that runs now."""
    if id(one) not in left_behind:
        return ""
    of = f" of life {one._incarnation}" if is_a(one, Managed) else ""
    return f"{of}, a straggler"


def _is_ours(frames: tuple[_Frame, ...]) -> bool:
    """Whether nothing but sprag and gevent runs there, and sprag does."""
    return any(ours for _code, _line, ours in frames) and all(
        ours or "gevent" in code.co_filename for code, _line, ours in frames
    )


def _frames(innermost: FrameType) -> Iterator[_Frame]:
    frames: list[_Frame] = []
    frame: FrameType | None = innermost
    while frame is not None and len(frames) < _FRAMES:
        ours = module_of(frame).startswith(_OURS)
        frames.append((frame.f_code, frame.f_lineno, ours))
        frame = frame.f_back
    return reversed(frames)


def _told(key: _Key, number: int, pace: Pace) -> dict[str, Any]:
    path, what, frames = key
    pace()
    shown = [each for each in frames if not each[2]] if path else list(frames)
    return {
        "service": path or None,
        "what": what,
        "count": number,
        "frames": [
            {
                "file": code.co_filename,
                "line": line,
                "function": code.co_name,
                "source": linecache.getline(code.co_filename, line).strip(),
            }
            for code, line, _ours in shown or frames
        ],
    }
