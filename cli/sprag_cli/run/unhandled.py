"""What Python and gevent print of exceptions that nobody handles, made harmless.

One in a ``__del__``, in a callback of the loop, or in a thread that belongs to no service becomes
no log record: each goes to stderr as it comes, with whatever its message holds, but `escaped`.
Nothing may wait for a lock in the midst of such a thing.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, TextIO, cast

from sprag.process.log_queue import write_as_log
from sprag_cli.term.plain import printable, printable_lines, shown

if TYPE_CHECKING:
    from types import TracebackType


class _Escaping:
    """Writes to whatever stderr is by then."""

    def write(self, text: str) -> int:
        if sys.stderr is not None:  # as at the very end of Python
            write_as_log("\n".join(printable_lines(text)))
        return len(text)

    def flush(self) -> None:
        """Do nothing: what is written is on its way."""


_stderr = cast("TextIO", _Escaping())


def escape_what_is_printed() -> None:
    """Have what nobody handles printed so that it cannot act on a terminal.

    For a process of sprag's own, after patching; an app's own hooks have the last word.
    """
    from gevent.hub import Hub

    Hub.exception_stream = _stderr  # type: ignore[assignment]
    sys.unraisablehook = _ignored
    # Both: that they are the same says that nobody wants to hear of every thread's crash.
    threading.excepthook = threading.__excepthook__ = _thread_died


def _ignored(what: sys.UnraisableHookArgs) -> None:
    about = what.err_msg or "Exception ignored in"
    if what.object is not None:
        about = f"{about}: {shown(what.object)}"
    _tell(about, what.exc_type, what.exc_value, what.exc_traceback)


def _thread_died(what: threading.ExceptHookArgs) -> None:
    if not issubclass(what.exc_type, SystemExit):  # that ends the thread only
        name = threading.get_ident() if what.thread is None else what.thread.name
        about = f"Exception in thread {name}:"
        _tell(about, what.exc_type, what.exc_value, what.exc_traceback)


def _tell(
    about: str,
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    _stderr.write(f"{printable(about)}\n")
    if error is None:  # there was no memory for one
        _stderr.write(f"{kind.__name__}\n")
    else:
        traceback.print_exception(kind, error, trace, file=_stderr)
    _stderr.flush()
