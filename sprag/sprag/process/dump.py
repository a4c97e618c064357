"""The tree and everybody's stack as plain text, for SIGUSR1.

Made in a signal handler: the loop may be stuck, a lock may be held, and whoever was
interrupted must go on as if nothing had happened. So nothing here waits, logs or switches.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gevent.hub import Hub
from greenlet import getcurrent, greenlet

from sprag.control.owner import owner_of
from sprag.control.pictures import to_json
from sprag_supervisor import (
    all_of,
    as_text,
    frame_of,
    idle_greenlets,
    is_a,
    path_of,
    plain,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from sprag_supervisor import Node

_DEPTH: Final = 40
"""Frames of one stack, the innermost."""
_STACKS: Final = 1000
_NODES: Final = 5000
_NOBODY: Final = "no service"


def dump(root: Node, frame: FrameType | None = None) -> str:
    """Return the tree below *root*, and the stacks of all greenlets by service.

    Args:
        root: The root of the tree.
        frame: Where the running greenlet is; None: not interesting.
    """
    lines = [f"sprag: tree at {datetime.now(UTC).isoformat(timespec='milliseconds')}"]
    lines.extend(tree_lines(to_json(snapshot(root))))
    lines.append("sprag: stacks, by service")
    lines.extend(_stack_lines(root, frame))
    return "\n".join(lines) + "\n"


def tree_lines(root: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each node of a tree as `to_json` returns it; two spaces a level."""
    stack = [(root, 0)]
    shown = 0
    while stack:
        node, depth = stack.pop()
        if shown == _NODES:
            yield f"… and more: {len(stack) + 1} subtrees are not shown"
            return
        shown += 1
        yield "  " * depth + _line(node)
        stack.extend((child, depth + 1) for child in reversed(node["children"]))


def _line(node: dict[str, Any]) -> str:
    said = [node["name"], node["class"], node["state"], f"incarnation {node['incarnation']}"]
    if node["uptime"] is not None:
        said.append(f"up {node['uptime']:.1f} s")
    if node["next_try"] is not None:
        said.append(f"next try in {node['next_try']:.1f} s")
    said.extend(f"{number} {kind}" for kind, number in node["owned"].items() if number)
    said.extend(f"straggler of incarnation {each['incarnation']}" for each in node["stragglers"])
    if node["last_failure"] is not None:
        failure = node["last_failure"]
        said.append(f"last failure {failure['type']}: {failure['message']}")
    return " · ".join(map(plain, said))


def _stack_lines(root: Node, frame: FrameType | None) -> Iterator[str]:
    """Yield the stacks; equal ones of one service once, with their number."""
    found: dict[tuple[str, str], int] = {}
    for owner, stack in _stacks(root, frame):
        key = owner, stack
        if key in found or len(found) < _STACKS:
            found[key] = found.get(key, 0) + 1
    for (owner, stack), number in sorted(found.items()):
        times = f" ({number} of them)" if number > 1 else ""
        yield f"- {plain(owner)}{times}\n{stack.rstrip()}"


def _stacks(root: Node, frame: FrameType | None) -> Iterator[tuple[str, str]]:
    current = getcurrent()
    if frame is not None:
        yield f"{_owner(current, root)}, running now", _format(frame)
    idle = {id(one) for one in idle_greenlets()}
    for one in all_of(greenlet):
        if one is current or id(one) in idle:
            continue
        place = frame_of(one)
        if place is not None and not is_a(one, Hub):
            yield _owner(one, root), _format(place)


def _owner(one: Any, root: Node) -> str:
    owner = owner_of(one, root._tree_)
    return _NOBODY if owner is None else path_of(owner)


def _format(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-_DEPTH:])


def write_dump(root: Node, frame: FrameType | None, write: Any) -> None:
    """Hand the text to *write*, whatever goes wrong: this is a signal handler."""
    try:
        text = dump(root, frame)
    except Exception as error:  # noqa: BLE001 - e.g. memory: then at least where we are
        text = f"sprag: no dump: {as_text(error)}\n" + (_format(frame) if frame else "")
    write(text)
