"""A short way from a record of the standard library to its line.

structlog's chain of processors copies the record and its fields a dozen times on the way. What any
library logs, and sprag's own records, of which an access log has one for each request, need none
of that, unless they have an exception or a stack. The lines are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from structlog.contextvars import get_contextvars
from structlog.stdlib import ProcessorFormatter

from sprag_supervisor import current_node, path_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from structlog.typing import EventDict

_RESERVED: Final = frozenset({"timestamp", "level", "stack", "exception"})
_RESERVED_AROUND: Final = _RESERVED | {"event", "incarnation"}
_LEVELS: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


class ShortWay(ProcessorFormatter):
    """A formatter that goes the short way where it leads to the same line.

    Args:
        stamp: Returns what has the time.
        render: Makes the line.
        options: structlog's.
    """

    def __init__(
        self,
        *,
        stamp: Callable[[object, str, EventDict], EventDict],
        render: Callable[[object, str, EventDict], Any],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._stamp = stamp
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for *record*."""
        # structlog's own have a dict for a message.
        if record.exc_info or record.exc_text or record.stack_info or type(record.msg) is dict:
            return super().format(record)
        fields: dict[str, Any] = getattr(record, "sprag", None) or {}
        around = get_contextvars()
        if not (
            _RESERVED.isdisjoint(fields)
            and _RESERVED_AROUND.isdisjoint(around)
            and record.levelname in _LEVELS
        ):
            return super().format(record)
        line = self._stamp(None, "", {})
        line["level"] = record.levelname.lower()
        line["event"] = fields["event"] if "event" in fields else record.getMessage()
        given = {**fields, **around} if around else fields
        if "service" in given:
            for name in ("service", "incarnation"):
                if name in given:
                    line[name] = given[name]
        elif (node := current_node()) is not None:
            line["service"], line["incarnation"] = path_of(node), node._incarnation_
            given = {**given, "incarnation": node._incarnation_}
        elif "incarnation" in given:
            line["incarnation"] = given["incarnation"]
        line.update(given)
        return str(self._render(None, "", line))
