"""`self.log`: structlog in front, stdlib logging behind; and what sprag itself has to say.

structlog is imported on first use: it loads ssl, socket and threading, which must
not happen before a program had its chance to patch them (gevent-traps 37). The
processors are given here, so structlog's global configuration is neither read nor
touched, and what is printed is for the standard library's logging alone to decide.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from sprag_supervisor import as_text, catch_up, logger, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from structlog.stdlib import BoundLogger

_target = logging.getLogger("sprag.service")


def record(level: int, event: str, **fields: object) -> None:
    """Log what sprag itself has to say of no service: text for people, fields for handlers."""
    said = {"event": event, **fields}
    message, values = text_of(said)
    logger.log(level, message, *values, extra={"sprag": said})


def bound_logger(path: str, incarnation: int) -> BoundLogger:
    """Return a logger whose records carry the service's path and incarnation."""
    bound: BoundLogger = _unbound().bind(service=path, incarnation=incarnation)
    return bound


def log_lines(path: str, incarnation: int, lines: Iterable[tuple[str, str]]) -> None:
    """Log lines that a program has written, as `bound_logger` would: at a third of the price.

    Args:
        path: The program's.
        incarnation: Which life of it.
        lines: Each a stream and a text.
    """
    if not _target.isEnabledFor(logging.INFO):
        return
    catch_up()
    name, make, handle = _target.name, _target.makeRecord, _target.handle
    for stream, text in lines:
        fields = {"service": path, "incarnation": incarnation, "stream": stream, "line": text}
        said = {"sprag": {**fields, "event": "output"}}
        handle(make(name, logging.INFO, "", 0, "%s | %s", (path, text), None, None, said))


@cache
def _unbound() -> Any:
    import structlog

    return structlog.wrap_logger(
        _target,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _to_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _to_record(
    _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hand the fields over as text for people, and as ``record.sprag`` for other handlers.

    There no name clashes with logging's own.
    """
    catch_up()
    fields = dict(event_dict)
    options: dict[str, Any] = {
        key: fields.pop(key) for key in ("exc_info", "stack_info", "stacklevel") if key in fields
    }
    fields["event"] = as_text(fields.get("event", ""))
    message, values = text_of(fields)
    return ((message, *values), {**options, "extra": {"sprag": fields}})
