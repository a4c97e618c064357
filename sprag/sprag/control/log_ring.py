"""The last log records of a tree, for ``sprag logs`` and ``sprag status``.

Bounded by what all of them weigh. Where there is no room left, those who have most give it: one
service that floods the log takes nothing from the others.

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
    from collections.abc import Callable, Iterable, Mapping

    from sprag_supervisor import Node

_KEPT: Final = 5000
_LONGEST: Final = 2000
"""Characters of one text: whoever logs a whole document does not fill the memory."""
_FIELDS: Final = 40
_MOST: Final = 2_000_000
"""Characters of all records."""
_LEAST: Final = _MOST // _KEPT
"""A record counts for so many characters at least: so there are never more than `_KEPT`."""
_LEFT: Final = _MOST * 3 // 4
"""What is left when room was made: to make it takes some milliseconds."""
OUTPUT: Final = "output"
"""The event of a line of a program's: its fields are the ``stream`` and the ``line``."""
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
    weight: int
    """How much of the room it takes, in characters."""

    @property
    def is_output(self) -> bool:
        """Whether it is a line that a program has written."""
        return self.event == OUTPUT and "line" in self.fields and "stream" in self.fields

    def is_below(self, path: str) -> bool:
        """Whether the service at *path*, or one below it, has caused it."""
        return self.service == path or self.service.startswith(f"{path}/")

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
        # Of the program's own records. Only of a worker the root's name has a slash, and where its
        # records are among those of others, it has to be told whose they are.
        self._own = path_of(root) if "/" in path_of(root) else ""
        self._lines: deque[Line] = deque()
        self._weight = 0
        self._sources: list[logging.Logger] = []
        self._followers: tuple[Callable[[Line], object], ...] = ()

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

    def follow(self, follower: Callable[[Line], object]) -> None:
        """Have *follower* told of each record from now on, in whatever thread it is made."""
        self._followers = (*self._followers, follower)

    def leave(self, follower: Callable[[Line], object]) -> None:
        """Tell *follower* no more."""
        self._followers = tuple(each for each in self._followers if each is not follower)

    def lines_of(self, path: str, most: int, *, output: bool = True) -> list[Line]:
        """Return the last records of the service at *path* itself, the oldest first.

        Args:
            path: Its full path.
            most: How many at most.
            output: With what it has written, if it is a program.
        """
        return self.last(most, lambda line: line.service == path and (output or not line.is_output))

    def last(self, most: int, wanted: Callable[[Line], bool]) -> list[Line]:
        """Return the last records that are *wanted*, the oldest first."""
        found: list[Line] = []
        for line in reversed(tuple(self._lines)):
            if len(found) >= most:
                break
            if wanted(line):
                found.append(line)
        return found[::-1]

    def handle(self, record: logging.LogRecord) -> bool:
        """Remember *record* if it is of this tree. Takes no lock and never raises."""
        with suppress(Exception):  # a record that cannot be shown is not worth a crash
            line = self._line(record)
            if line is not None:
                self._lines.append(line)
                self._weight += line.weight
                if self._weight > _MOST:
                    self._make_room()
                for follower in self._followers:
                    follower(line)
        return super().handle(record)

    def _make_room(self) -> None:
        """Forget the oldest records of those who have most of them.

        What another thread logs meanwhile may be forgotten, too.
        """
        lines = tuple(self._lines)
        taken: dict[str, int] = {}
        for line in lines:
            service = line.service
            taken[service] = taken.get(service, 0) + line.weight
        share = _share(taken.values(), _LEFT)
        kept, self._weight = _kept(lines, share)
        self._lines = deque(kept)

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
            service = self._own
            if node is not None:
                if node._tree_ is not self._root._tree_:
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
        event = _short(event)
        size = len(service) + len(event)
        for name, value in fields.items():
            size += len(name) + len(value)
        return Line(
            record.created,
            record.levelname.lower(),
            record.name,
            event,
            service,
            incarnation if is_a(incarnation, int) else None,
            fields,
            max(size, _LEAST),
        )


def _share(weights: Iterable[int], room: int) -> int:
    """Return what each may keep, so that all keep no more than *room*: who has less keeps all."""
    ordered = sorted(weights)
    for place, weight in enumerate(ordered):
        share = room // (len(ordered) - place)
        if weight > share:
            return share
        room -= weight
    return room


def _kept(lines: tuple[Line, ...], share: int) -> tuple[list[Line], int]:
    """Return what is kept, and its weight; of very many services not all have something left."""
    room = _LEFT
    used: dict[str, int] = {}
    kept: list[Line] = []
    for line in reversed(lines):
        service, weight = line.service, line.weight
        before = used.get(service, 0)
        if before < share and weight <= room:
            used[service] = before + weight
            room -= weight
            kept.append(line)
    kept.reverse()
    return kept, _LEFT - room


def _short(value: object) -> str:
    text = value if type(value) is str else as_text(value, _LONGEST + 1)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
