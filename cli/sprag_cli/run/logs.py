"""What ``sprag run`` does about logs: all of them, one format, on stderr.

Three kinds meet here: what services write with structlog, what sprag writes to the ``sprag``
logger of the standard library (its fields are in ``record.sprag``), and what any library writes
with the standard library. Each goes through one formatter: coloured lines on a terminal, one
JSON object per line otherwise. It is set up before the user's app is imported, so that an app
that configures logging itself has the last word.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, TypeAlias, cast

from sprag.process.worker import worker
from sprag_cli.term.screen import coloured, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from structlog.typing import EventDict, Processor

LogFormat: TypeAlias = Literal["auto", "console", "json"]
DROPPED: Final = "log records were dropped, as stderr took no more"


def configure(
    log_format: LogFormat,
    level: str,
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send every log record of this process to *stream*, Python's warnings among them.

    Args:
        log_format: ``console``, ``json``, or ``auto``: console on a terminal, else JSON.
        level: The lowest level that is shown.
        stream: Where to write. ``None`` means stderr.
        environ: For ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM``. ``None`` means that of the
            process.
    """
    import structlog

    from sprag_cli.run import console as lines_for_people
    from sprag_cli.run import json_lines
    from sprag_cli.run.handler import Handler, placed
    from sprag_cli.run.short_way import ShortWay
    from sprag_cli.run.tracebacks import formatted

    target: TextIO = sys.stderr if stream is None else stream
    environ = os.environ if environ is None else environ
    terminal = target.isatty()
    console = log_format == "console" or (log_format == "auto" and terminal)
    stamper = structlog.processors.TimeStamper(
        fmt="%H:%M:%S" if console else "iso", utc=not console
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        stamper,
        structlog.processors.ExceptionRenderer(formatted),
    ]
    if console:
        renderer: Processor = lines_for_people.ConsoleLines(
            colours=coloured(target, environ),
            width=partial(_width, target) if terminal else None,
        )
    else:
        renderer = json_lines.JSON
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    lines = lines_for_people if console else json_lines

    if (told := worker()) is not None:
        renderer = _with_worker(renderer, told.slot, only_where_nobody=console)

    def notice(count: int) -> str:
        event = {"level": "warning", "event": DROPPED, "count": count}
        return str(renderer(None, "", _in_order(None, "", stamper(None, "", event))))

    handler = Handler(target, again=lines.repeated, after_time=lines.AFTER_TIME, notice=notice)
    handler.setFormatter(
        ShortWay(
            stamp=stamper,
            render=renderer,
            processors=[
                placed,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _in_order,
                renderer,
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=()), _add_fields],
        )
    )
    if handler.queue is not None:
        # Before the app is imported: what its own functions for the exit log comes before this.
        atexit.register(handler.queue.close)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def _with_worker(render: Processor, slot: int, *, only_where_nobody: bool) -> Processor:
    """Put the worker into each record; for people only where no service's path has it."""

    def rendered(logger: Any, method: str, event: EventDict) -> Any:
        if not (only_where_nobody and "service" in event):
            event["worker"] = slot
        return render(logger, method, event)

    return rendered


def _width(stream: TextIO) -> int:
    return size_of(stream)[0]


_FIRST: Final = ("timestamp", "level", "event", "service", "incarnation")
_LAST: Final = ("stack", "exception")


def _in_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put what every record has first, and what is long last."""
    middle = [name for name in event if name not in _FIRST and name not in _LAST]
    return {name: event[name] for name in (*_FIRST, *middle, *_LAST) if name in event}


def _add_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put the fields of one of sprag's own records beside its event, instead of into the text."""
    record = cast("logging.LogRecord | None", event.get("_record"))
    fields = cast("MutableMapping[str, object] | None", getattr(record, "sprag", None))
    return {**fields, **event, "event": fields.get("event", event["event"])} if fields else event
