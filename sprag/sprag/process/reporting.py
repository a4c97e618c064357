"""What gevent says of exceptions, while `own_greenlets` is in force.

gevent's hub prints whatever ends a greenlet, and throws what it takes for an error of the
system into the main greenlet. For an owned greenlet sprag sees to both; and as the main
greenlet is where the tree is waited for, of all else only what ends a program reaches it.

Whoever wants to hear of every exception, an error reporter say, puts a ``handle_error`` on the
hub and calls the one it has found there, in whatever order that happens; so none is put there
by sprag. Held back are the two steps of gevent's own, wherever it is called from.

They are methods of the class, for every hub there is. The last block to be left takes its own
away, unless somebody has put theirs on top: then it stays, and passes everything on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gevent import getcurrent
from gevent.hub import Hub

from sprag._native import make_lock
from sprag_supervisor import is_a, shown_as

if TYPE_CHECKING:
    from collections.abc import Callable

    Teller = Callable[[object, BaseException], bool]
    """Whether sprag tells of what has ended a greenlet, so that gevent need not."""


def hold(is_told: Teller) -> None:
    """Enter a block in which gevent does not report what *is_told*."""
    with _lock:
        _blocks.append(is_told)
        for step, make in _STEPS.items():
            if vars(Hub)[step] is not _installed.get(step):
                _replaced[step] = vars(Hub)[step]
                _installed[step] = make(_replaced[step])
                setattr(Hub, step, _installed[step])


def release() -> bool:
    """Leave a block; return whether it was the last one."""
    with _lock:
        _blocks.pop()
        if _blocks:
            return False
        for step in _STEPS:
            if vars(Hub)[step] is _installed[step]:
                setattr(Hub, step, _replaced[step])
        _installed.clear()
        _replaced.clear()
        return True


def _is_told(context: object, error: Any) -> bool:
    blocks = _blocks[:1]  # all the same; none when somebody keeps a step of a block that is over
    return bool(blocks) and blocks[0](context, error)


def _quiet_print(print_exception: Callable[..., object]) -> Callable[..., None]:
    def print_unless_told(hub: Hub, context: object, kind: Any, value: Any, traceback: Any) -> None:
        if not _is_told(context, value):
            if is_a(value, BaseException):
                kind, value, traceback = shown_as(value, traceback)
            print_exception(hub, context, kind, value, traceback)

    return print_unless_told


def _quiet_system_error(handle: Callable[..., object]) -> Callable[..., None]:
    def handle_if_meant_for_main(hub: Hub, kind: Any, value: Any, traceback: Any = None) -> None:
        ends_program = issubclass(kind, (SystemExit, KeyboardInterrupt))
        if not _blocks or (ends_program and not _is_told(getcurrent(), value)):
            handle(hub, kind, value, traceback)

    return handle_if_meant_for_main


_STEPS: Final = {"print_exception": _quiet_print, "handle_system_error": _quiet_system_error}
_installed: Final[dict[str, Callable[..., None]]] = {}
_replaced: Final[dict[str, Callable[..., Any]]] = {}
_blocks: Final[list[Teller]] = []
_lock: Final = make_lock()
