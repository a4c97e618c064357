"""The last log records of a tree, for ``sprag status``.

Installed by the host alone. It takes what goes to the root logger if the program has
configured that, else only what sprag and its services log: ``logging.basicConfig()`` does
nothing once the root logger has a handler. It is an `Onlooker`: the engine makes no record
for it alone, and what it gets still goes to Python's last resort where nobody else listens.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sprag.control.pictures import iso
from sprag_supervisor import Onlooker, as_text, class_name, current_node, is_a, logger, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sprag_supervisor import Node

_KEPT: Final = 2000
_LONGEST: Final = 2000
"""Characters of one text: whoever logs a whole document does not fill the memory."""
_FIELDS: Final = 40
_MOST: Final = 2_000_000
"""Characters of all records."""
_ADDED: Final = _MOST // 10
"""Characters that are added before all are counted again: to count takes a millisecond."""
_OF_STRUCTLOG: Final = frozenset({"event", "level", "timestamp", "service", "incarnation"})


class Line(NamedTuple):
    """One record, as text."""

    at: float
    level: str
    logger: str
    event: str
    service: str
    incarnation: int | None
    fields: Mapping[str, str]

    @property
    def size(self) -> int:
        """How many characters it has."""
        texts = len(self.service) + len(self.event)
        return texts + sum(len(name) + len(value) for name, value in self.fields.items())

    def to_json(self) -> dict[str, Any]:
        """Return it as the control socket tells it."""
        return {
            "at": iso(self.at),
            "level": self.level,
            "logger": self.logger,
            "event": self.event,
            "incarnation": self.incarnation,
            "fields": dict(self.fields),
        }


class LogRing(Onlooker):
    """Remembers the last records that services of one tree have caused."""

    def __init__(self, root: Node) -> None:
        super().__init__()
        self._root = root
        self._lines: deque[Line] = deque(maxlen=_KEPT)
        self._sources: list[logging.Logger] = []
        self._added = 0

    def install(self) -> None:
        """Begin to listen."""
        top = logging.getLogger()
        self._sources = [top] if top.handlers else [logger]
        if top.handlers and not logger.propagate:
            self._sources.append(logger)
        for source in self._sources:
            source.addHandler(self)

    def remove(self) -> None:
        """Stop listening."""
        for source in self._sources:
            source.removeHandler(self)

    def lines_of(self, path: str, most: int) -> list[Line]:
        """Return the last records of the service at *path*, the oldest first."""
        return list(self._last(path, most))[::-1]

    def _last(self, path: str, most: int) -> Iterator[Line]:
        left = most
        for line in reversed(tuple(self._lines)):
            if not left:
                return
            if line.service == path:
                left -= 1
                yield line

    def handle(self, record: logging.LogRecord) -> bool:
        """Remember *record* if a service has caused it. Takes no lock and never raises."""
        with suppress(Exception):  # a record that cannot be shown is not worth a crash
            line = self._line(record)
            if line is not None:
                self._lines.append(line)
                self._added += line.size
                if self._added > _ADDED:
                    self._make_room()
        return super().handle(record)

    def _make_room(self) -> None:
        """Forget the oldest, until all together leave room for what comes before the next count."""
        self._added = 0
        size = sum(line.size for line in tuple(self._lines))
        while size > _MOST - 2 * _ADDED:  # the last one may have been long, and so may the next
            size -= self._lines.popleft().size

    def _line(self, record: logging.LogRecord) -> Line | None:
        message: Any = record.msg
        given: Mapping[str, Any] = getattr(record, "sprag", None) or {}
        if isinstance(message, dict):  # structlog's, on its way to its formatter
            given = cast("Mapping[str, Any]", message)
        event = as_text(given["event"]) if "event" in given else record.getMessage()
        service = given.get("service")
        incarnation = given.get("incarnation")
        if not is_a(service, str):
            node = current_node()
            if node is None or node._tree_ is not self._root._tree_:
                return None
            service, incarnation = path_of(node), node._incarnation_
        told = [
            name
            for name in given
            if name not in _OF_STRUCTLOG and name[:1] != "_" and name != "exc_info"
        ]
        fields = {_short(name): _short(given[name]) for name in told[:_FIELDS]}
        if len(told) > _FIELDS:
            fields["…"] = f"{len(told) - _FIELDS} more"
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["exception"] = _short(f"{class_name(type(error))}: {as_text(error)}")
        return Line(
            record.created,
            record.levelname.lower(),
            record.name,
            _short(event),
            service,
            incarnation if is_a(incarnation, int) else None,
            fields,
        )


def _short(value: object) -> str:
    text = value if type(value) is str else as_text(value, _LONGEST + 1)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
