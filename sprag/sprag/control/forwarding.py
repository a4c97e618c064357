"""At the parent of workers: what lies beyond a worker is answered by the worker itself.

A path that goes on behind a worker's, ``worker-2/metrics``, is sent on to its control socket, and
its answer comes back as it is: a worker calls its root as its parent does. Below each worker in the
tree hangs the worker's own.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from gevent import Greenlet, socket

from sprag.control.http import Answer, Refused
from sprag.control.pictures import node_to_json
from sprag_supervisor import name_of, path_of, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.workers.slot import WorkerSlot
    from sprag_supervisor import Node

_LOOK: Final = 2.0
"""Seconds that a worker has to show its tree, …"""
_REST: Final = 5.0
"""… and to begin any other answer, beyond those that the client gives it."""
_ACTING: Final = 3600.0
_PIECE: Final = 1 << 16
_LARGEST_HEAD: Final = 1 << 14
_CHILDREN: Final = ', "children": ['
_OF_PROCESS: Final = ("log_queue", "broadcasts", "crash_reports")


class Beyond(NamedTuple):
    """Who is meant by a path that goes on behind a worker's.

    Attributes:
        slot: The worker.
        path: What is meant there: with a slash in front; empty: its root.
    """

    slot: WorkerSlot
    path: str


def slot_of(node: Node) -> WorkerSlot | None:
    """Return *node* if it is a worker, as its parent has it; else None."""
    module: Any = sys.modules.get("sprag.workers.slot")
    found: Any = node
    return found if module is not None and type(node) is module.WorkerSlot else None


def beyond(desk: Desk, path: str) -> Beyond | None:
    """Return which worker is to be asked about *path*; None: it is answered here."""
    if "sprag.workers.slot" not in sys.modules:
        return None
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] == name_of(desk.root) and not path.startswith("/"):
        parts = parts[1:]
    child = (desk.root._children_ or {}).get(parts[0]) if parts else None
    slot = None if child is None else slot_of(child)
    if slot is None:
        return None
    return Beyond(slot, "/".join(["", *parts[1:]]))


def any_worker(desk: Desk) -> WorkerSlot | None:
    """Return a worker that answers, if this is a parent of some; None: it is none, or has none."""
    if "sprag.workers.slot" not in sys.modules:
        return None
    slots = [slot_of(child) for child in (desk.root._children_ or {}).values()]
    return next((each for each in slots if each is not None and each.serves), None)


def listens(slot: WorkerSlot) -> bool:
    """Whether a process of the worker can be asked, also while it is not ready."""
    place = slot.control
    return place is not None and place.exists()


def answer(beginning: str, request: Request, found: Beyond) -> Answer:
    """Have the worker answer, and return what it says.

    Raises:
        Refused: There is none now, or it does not answer.
    """
    query = dict(request.query)
    path = f"{beginning}/{quote(found.path)}" if found.path else beginning
    if "path" in query:
        path, query["path"] = beginning, found.path
    given = request.seconds("timeout", _ACTING if request.method == "POST" else 0.0) or 0.0
    measured = request.seconds("seconds", 0.0) or 0.0
    target = f"{path}?{urlencode(query)}" if query else path
    connection = _connected(found.slot)
    try:
        status, kind, rest = _ask(connection, request.method, target, given + measured + _REST)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            raise _silent(found.slot) from error
        raise
    is_stream = "ndjson" in kind
    return Answer(_body(connection, rest, is_stream=is_stream), HTTPStatus(status), is_stream)


def streamed(slot: WorkerSlot, target: str) -> Iterator[bytes]:
    """Yield what a worker has to say, until it has said all.

    Raises:
        Refused: It does not answer, or says no.
        OSError: It has gone.
    """
    connection = _connected(slot)
    try:
        status, _kind, rest = _ask(connection, "GET", target, _LOOK)
        if status != HTTPStatus.OK:
            raise _silent(slot)
        yield from _body(connection, rest, is_stream=True)
    finally:
        connection.close()


def tree(desk: Desk, node: Node, extra: dict[str, Any]) -> Answer | None:
    """Return the tree below *node* with those of the workers in it; None: there are none."""
    if "sprag.workers.slot" not in sys.modules:
        return None
    if (slot := slot_of(node)) is not None:
        head, below = _below(slot)
        return Answer([_with_children({**extra, **_told(slot), **head}, [below])])
    slots = [slot_of(child) for child in (node._children_ or {}).values()]
    asked: list[Any] = [Greenlet(_drawn, slot) for slot in slots if slot is not None]
    for each in asked:
        each.start()
    if node is not desk.root or not asked:
        return None
    children = [str(each.get()) for each in asked]
    return Answer([_with_children({**extra, **node_to_json(picture(node))}, children)])


def with_place(node: Node, told: dict[str, Any] | None) -> dict[str, Any] | None:
    """Add to what is told of a worker's process which of the workers it is."""
    slot = slot_of(node)
    if slot is None or told is None or slot.current is None:
        return told
    return {**told, "slot": slot.number, "generation": slot.current.generation}


def _told(slot: WorkerSlot) -> dict[str, Any]:
    told = node_to_json(picture(slot))
    return {**told, "process": with_place(slot, told["process"])}


def _drawn(slot: WorkerSlot) -> str:
    head, children = _below(slot)
    return _with_children({**_told(slot), **head}, [children]).decode()


def of_process(node: Node) -> dict[str, Any]:
    """Return what a worker tells of its process as a whole, which is not ours; else nothing."""
    slot = slot_of(node)
    return {} if slot is None else _below(slot)[0]


def _with_children(told: dict[str, Any], children: list[str]) -> bytes:
    inside = ", ".join(filter(None, children))
    return f"{json.dumps(told)[:-1]}{_CHILDREN}{inside}]}}".encode()


def _below(slot: WorkerSlot) -> tuple[dict[str, Any], str]:
    """Return what a worker tells of its process, and the children of its root, as JSON.

    Nothing, if it does not show them in time. As text: no depth of its tree meets a limit here.
    """
    with suppress(OSError, Refused):
        connection = _connected(slot)
        try:
            status, _kind, rest = _ask(connection, "GET", "/v1/tree", _LOOK)
            text = b"".join(_body(connection, rest, is_stream=False)).decode()
        finally:
            connection.close()
        begin, end = text.find(_CHILDREN), text.rstrip().rfind("]}")
        if status == HTTPStatus.OK and begin >= 0:
            head: dict[str, Any] = json.loads(f"{text[:begin]}}}")
            of_process: dict[str, Any] = {key: head[key] for key in _OF_PROCESS if key in head}
            return of_process, text[begin + len(_CHILDREN) : end]
    return {}, ""


def _connected(slot: WorkerSlot) -> Any:
    place = slot.control
    if place is None:
        message = f"{path_of(slot)} has no process now that could answer"
        raise Refused(HTTPStatus.CONFLICT, message, name="NotRunning")
    connection: Any = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_LOOK)
        connection.connect(str(place))
    except OSError as error:
        connection.close()
        raise _silent(slot) from error
    return connection


def _silent(slot: WorkerSlot) -> Refused:
    message = f"{path_of(slot)} does not answer: 'sprag status {path_of(slot)}' says more"
    return Refused(HTTPStatus.GATEWAY_TIMEOUT, message, name="WorkerSilent")


def _ask(connection: Any, method: str, target: str, seconds: float) -> tuple[int, str, bytes]:
    """Send a request; return the status, the kind of the answer, and what of it has come."""
    connection.settimeout(seconds)
    head = f"{method} {target} HTTP/1.1\r\nHost: sprag\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode())
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(_PIECE)
        if not piece or len(read) > _LARGEST_HEAD:
            raise ConnectionError("no answer")
        read += piece
    first, _, rest = read.partition(b"\r\n\r\n")
    lines = first.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines[1:]]
    kind = next((value.strip() for name, _, value in pairs if name.lower() == "content-type"), "")
    return int(lines[0].split()[1]), kind, rest


def _body(connection: Any, rest: bytes, *, is_stream: bool) -> Iterator[bytes]:
    """Yield what comes, until the worker has said all."""
    try:
        if is_stream:
            connection.settimeout(None)
        if rest:
            yield rest
        while piece := connection.recv(_PIECE):
            yield piece
    except OSError:
        return
    finally:
        connection.close()
