"""What the engine says, through stdlib logging under ``sprag``.

As with any library, where no logging is configured warnings and errors go to Python's last
resort, on stderr: a crash is never silent. Each record names the service in its text, and has
the bare event and all fields in ``record.sprag``, for handlers that show them in their own
way. While nobody would see it, because a program gives ``sprag`` nothing but a NullHandler
for instance, no record is made.
"""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sprag_supervisor.escaping import plain, plain_lines
from sprag_supervisor.facts.crash import is_plain, shortened, users_part
from sprag_supervisor.facts.stand_in import shown_as
from sprag_supervisor.redaction import arguments_told
from sprag_supervisor.tree.making import arguments_of
from sprag_supervisor.tree.names import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag_supervisor.tree.node import Node

backlogs: Final[list[Callable[[], None]]] = []
"""What writes records that are still to be written, before one of later is."""
logger = logging.getLogger("sprag")

_NOT_IN_TEXT: Final = frozenset({"event", "service", "incarnation", "stack", "arguments"})


_Null: Final = logging.NullHandler


class Onlooker(logging.NullHandler):
    """A handler that takes note and changes nothing for others.

    Where it is the only one, Python would take the record for handled. It is not: so this
    hands it to the last resort, as Python had done without it.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Hand *record* to the last resort if that would have got it. Subclasses look first."""
        last = logging.lastResort
        is_handled = _has_handlers(logging.getLogger(record.name))
        if last is not None and record.levelno >= last.level and not is_handled:
            last.handle(record)
        return True


def listening(level: int) -> bool:
    """Whether anybody would see a record of this level: a handler, or Python's last resort."""
    if not logger.isEnabledFor(level):
        return False
    is_dropped = False
    source: logging.Logger | None = logger
    while source is not None:  # asked for each crash and each request: no call for each handler
        for handler in source.handlers:
            if type(handler) is _Null:
                is_dropped = True
            elif not isinstance(handler, Onlooker):
                return True
        source = source.parent if source.propagate else None
    last = logging.lastResort
    return not is_dropped and last is not None and level >= last.level


def configured(level: int) -> bool:
    """Whether a record of this level would go where the program has said."""
    return listening(level) and _has_handlers(logger)


def _has_handlers(source: logging.Logger) -> bool:
    """Whether a record of this logger finds handlers, but those that only look on."""
    place: logging.Logger | None = source
    while place is not None:
        if not all(isinstance(handler, Onlooker) for handler in place.handlers):
            return True
        place = place.parent if place.propagate else None
    return False


def catch_up() -> None:
    """Have what happened earlier written first, so that the log is in the order of events."""
    for write in tuple(backlogs):
        write()


def say(
    level: int,
    node: Node,
    event: str,
    error: BaseException | None = None,
    **fields: Any,
) -> None:
    """Log *event* about *node*, with the traceback of *error* if there is one."""
    saying(level, node, event, error, **fields)()


def saying(
    level: int,
    node: Node,
    event: str,
    error: BaseException | None = None,
    **fields: Any,
) -> Callable[[], None]:
    """Return what logs *event* about *node* as it is now, for those who have to act first.

    A handler may block, on its lock or on a socket, and the tree goes on meanwhile.
    """
    if not listening(level):
        return _say_nothing
    parent = node._parent_
    above = None if parent is None or parent._supervision_ is None else parent._supervision_.path
    said = {
        "event": event,
        "service": path_of(node) if above is None else f"{above}/{node._name_}",
        "incarnation": node._incarnation_,
        **fields,
    }
    place = None
    if error is not None:
        place, left_out = shortened(users_part(error))
        if left_out:
            said["frames_left_out"] = left_out
        if node._arguments_:
            given = arguments_told(type(node), *arguments_of(node), texts=False)
            if given:
                said["arguments"] = given

    def tell() -> None:
        try:
            catch_up()
            message, values = text_of(said)
            exc_info = None
            if error is not None:
                exc_info = type(error), error, place
                if not is_plain(error):
                    exc_info = shown_as(error, place)
            logger.log(level, message, *values, exc_info=exc_info, extra={"sprag": said})
        except Exception:  # noqa: BLE001 - a user's handler or filter must not end the supervisor
            with suppress(Exception):  # stderr may be closed, the stack used up
                traceback.print_exc()

    return tell


def _say_nothing() -> None:
    pass


def text_of(fields: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the fields as one line, ``shop/till: it is open (cash=100)``: message and arguments.

    The message is the same for each event of a kind, so that aggregators can group by it.
    """
    names = [name for name in fields if name not in _NOT_IN_TEXT]
    message = _literal(fields["event"], plain_lines)
    if names:
        # As their repr, and cut, so that no value fills the screen or fakes a line.
        message += f" ({', '.join([f'{_literal(name, plain)}=%.300r' for name in names])})"
    values = tuple([fields[name] for name in names])
    if "service" in fields:
        service = str(fields["service"])
        return f"%s: {message}", (service if service.isprintable() else plain(service), *values)
    return message, values


def _literal(text: str, escaped: Callable[[str], str]) -> str:
    """Return *text* as it is shown, for a format string."""
    return (text if text.isprintable() else escaped(text)).replace("%", "%%")
