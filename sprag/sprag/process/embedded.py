"""The control socket of a tree that is no process of its own: in a gunicorn worker, say."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from sprag.process.log_queue import backlog
from sprag.services.service import Service
from sprag_supervisor import (
    called,
    checked_name,
    is_a,
    must_be_at_home,
    path_of,
    tree_of,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from sprag.control.server import ControlSocket
    from sprag_supervisor import Tree

_served: Final[dict[int, ServedControl]] = {}
"""By the identity of the tree."""


def serve_control(root: Service, *, name: str | None = None) -> ServedControl:
    """Open the control socket for the tree of *root*, as ``sprag run`` does, and return it.

    So ``sprag tree``, ``status``, ``why`` and all others find a tree that your own program starts:
    in a gunicorn worker, in Celery, in a script. It answers as long as the loop turns, from now on
    until the program ends or closes it, also before the tree's start and after its stop. Signals,
    logging and whatever else belongs to the process stay as they are. Several trees of a
    process may each have one.

    Args:
        root: Of the tree: without a parent, running or not.
        name: What ``--app`` calls it; None: the root's own name, ``background`` say. The process
            id comes with it.

    Raises:
        BadValue: *root* is no service, has a parent, or its socket is open; *name* is empty or
            has a slash; or the tree runs and is called something else.
        OSError: The directory or the socket cannot be made, or belongs to somebody else.
        WrongThread, AfterFork: The tree lives in another native thread, or in another process.
    """
    if not is_a(root, Service):
        raise BadValue("root", root, f"an instance of a Service{called(root)}")
    must_be_at_home(root)
    if root._parent_ is not None:
        raise BadValue("root", root, "a service that has no parent")
    from sprag.control.desk import is_open
    from sprag.control.server import ControlSocket

    tree = tree_of(root)
    if is_open(tree):
        raise BadValue("root", path_of(root), "a tree whose control socket is not open yet")
    if name is not None and checked_name(name) != root._name_:
        if tree.thread:
            raise BadValue("name", name, f"{path_of(root)!r}, or to be set before the tree starts")
        root._name_ = checked_name(name)
    socket = ControlSocket(root, backlog)
    socket.open()
    served = _served[id(tree)] = ServedControl(tree, socket)
    return served


class ServedControl:
    """A control socket that is open: `close()` it, or use it as a block.

    Attributes:
        path: Where it is.
    """

    def __init__(self, tree: Tree, socket: ControlSocket) -> None:
        self._tree = tree
        self._socket: Any = socket
        self.path: Final[Path] = socket.path

    def close(self) -> None:
        """Close and remove it; harmless a second time."""
        if _served.pop(id(self._tree), None) is self:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _remove_all() -> None:
    """Leave nothing behind when the program ends."""
    for served in tuple(_served.values()):
        with suppress(Exception):
            served._socket.unlink()


def _after_fork() -> None:
    """Let go of them in a forked child: they would be open for longer than the parent."""
    for served in _served.values():
        served._socket.leave_to_parent()
    _served.clear()


atexit.register(_remove_all)
os.register_at_fork(after_in_child=_after_fork)
