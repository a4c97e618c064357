"""A tree as lines of text: a pure function of the tree, the width and the time.

A line holds these columns, as far as the tree has anything to say in them::

    tree  class  state  when  restarts  detail

The detail is what the service owns (greenlets, timers, listeners), then its last failure.

What is owned is shown where there is room to spare. The other columns fall away as the window
narrows, in this order: class, failure, restarts, when, state. The tree column (guides, symbol,
name) stays. Before any of them falls, the tree column is cut to half of the width and failures to
`_FAILURE_LEAST` cells; what is left over in the end goes back to names first, then to the detail.
No line is longer than the width.

Guides may take half of the width. In a tree deeper than that all of them are held to a third: the
innermost levels are drawn, and a number says how many further levels lie above (``…988 ``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from sprag_cli._cells import cell_len, cut, pad, printable
from sprag_cli._node import (
    Below,
    Node,
    below,
    children_of,
    count_of,
    mapping_of,
    number_of,
    text_of,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GAP: Final = 2
_LEVEL: Final = 3
_CLASS_MOST: Final = 24
_FAILURE_LEAST: Final = 24
_NAME_LEAST: Final = 8
_MESSAGE_LEAST: Final = 10

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


class Tone(Enum):
    """What a piece of text means; the edge gives it a colour."""

    PLAIN = auto()
    NAME = auto()
    DIM = auto()
    GOOD = auto()
    BUSY = auto()
    BAD = auto()


Line: TypeAlias = list[tuple[str, Tone]]
"""A line: pieces of text with their tones."""


@dataclass(frozen=True, slots=True)
class Charset:
    """The characters a picture is drawn with."""

    symbols: Mapping[str, str]
    unknown: str
    branch: str
    last: str
    through: str
    blank: str
    restarts: str
    between: str
    ellipsis: str
    ascii_only: bool


UNICODE: Final = Charset(
    symbols={
        "new": "◌",
        "starting": "◐",
        "running": "●",
        "stopping": "◑",
        "restarting": "↻",
        "stopped": "■",
        "finished": "○",
        "failed": "✗",
    },
    unknown="?",
    branch="├─ ",
    last="└─ ",
    through="│  ",
    blank="   ",
    restarts="↺ ",
    between=" · ",
    ellipsis="…",
    ascii_only=False,
)

ASCII: Final = Charset(
    symbols={
        "new": ".",
        "starting": ">",
        "running": "*",
        "stopping": "<",
        "restarting": "@",
        "stopped": "-",
        "finished": "o",
        "failed": "x",
    },
    unknown="?",
    branch="|- ",
    last="`- ",
    through="|  ",
    blank="   ",
    restarts="r:",
    between=", ",
    ellipsis="~",
    ascii_only=True,
)

TONES: Final[Mapping[str, Tone]] = {
    "new": Tone.DIM,
    "starting": Tone.BUSY,
    "running": Tone.GOOD,
    "stopping": Tone.BUSY,
    "restarting": Tone.BUSY,
    "stopped": Tone.DIM,
    "finished": Tone.DIM,
    "failed": Tone.BAD,
}
"""The states a node can be in, each with its tone."""


class _Column(Enum):
    TREE = auto()
    CLASS = auto()
    STATE = auto()
    WHEN = auto()
    RESTARTS = auto()
    DETAIL = auto()


_FALLS: Final = (
    _Column.CLASS,
    _Column.DETAIL,
    _Column.RESTARTS,
    _Column.WHEN,
    _Column.STATE,
)
_WORDS: Final = (
    _Column.CLASS,
    _Column.STATE,
    _Column.WHEN,
    _Column.RESTARTS,
)


@dataclass(frozen=True, slots=True)
class _Row:
    guide: str
    symbol: str
    tone: Tone
    name: str
    hidden: str
    hidden_tone: Tone
    words: Mapping[_Column, str]
    owned: str
    failure: str
    failure_age: str
    failure_tone: Tone

    def tree_cells(self) -> int:
        """Return how wide the tree column of this row would like to be."""
        return len(self.guide) + 2 + cell_len(self.name) + len(self.hidden)

    def failure_cells(self) -> int:
        """Return how wide the failure of this row would like to be."""
        return cell_len(self.failure) + len(self.failure_age)

    def detail_cells(self) -> int:
        """Return how wide all that is said in the detail column would like to be."""
        gap = _GAP if self.owned and self.failure else 0
        return len(self.owned) + gap + self.failure_cells()


def render(
    root: Node,
    *,
    width: int,
    now: float,
    charset: Charset = UNICODE,
    depth: int | None = None,
) -> list[Line]:
    """Draw a tree.

    Args:
        root: The node to begin with, as the app tells it in JSON.
        width: Cells per line; no line is longer.
        now: The time, in seconds since 1970, that ages are counted from.
        charset: The characters to draw with.
        depth: Levels to draw below *root*. ``None`` draws all; a node whose children are left
            out says how many services are under it.

    Returns:
        One line per node.
    """
    guide = _guide_maker(root, width, charset, depth)
    rows = [
        _row(node, guide(trail), now=now, charset=charset, hidden=_hidden(node, trail, depth))
        for node, trail in walk(root, depth)
    ]
    widths = _layout(rows, width)
    owned = _shows_owned(rows, widths.get(_Column.DETAIL, 0))
    return [_line(row, widths, charset, owned=owned) for row in rows]


def plain(line: Line) -> str:
    """Return a line without its tones."""
    return "".join(text for text, _ in line)


def duration(seconds: float) -> str:
    """Say a length of time in at most six cells or so: ``42 s``, ``12m``, ``2h03m``, ``3d04h``."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def _hidden(node: Node, trail: list[bool], depth: int | None) -> Below | None:
    if depth is None or len(trail) < depth or not children_of(node):
        return None
    return below(node)


def _guide_maker(
    root: Node, width: int, charset: Charset, depth: int | None
) -> Callable[[list[bool]], str]:
    deepest = max(len(trail) for _, trail in walk(root, depth))
    room = deepest * _LEVEL if deepest * _LEVEL <= width // 2 else width // 3
    marker = len(str(deepest)) + 2
    shown = max((room - marker) // _LEVEL, 0)

    def guide(trail: list[bool]) -> str:
        if not trail:
            return ""
        above, above_count = "", len(trail) * _LEVEL > room
        way = trail
        if above_count:
            way = trail[len(trail) - shown :]
            above = f"{charset.ellipsis}{len(trail) - shown}".ljust(marker)
        lines = [charset.blank if last else charset.through for last in way[:-1]]
        if way:
            lines.append(charset.last if way[-1] else charset.branch)
        return above + "".join(lines)

    return guide


def _row(node: Node, guide: str, *, now: float, charset: Charset, hidden: Below | None) -> _Row:
    state = text_of(node, "state")
    failure, failure_age = _failure(node, now, charset)
    more = ""
    if hidden is not None:
        more = f" +{hidden.services}" + (f" ({hidden.failed} failed)" if hidden.failed else "")
    return _Row(
        guide=guide,
        symbol=charset.symbols.get(state, charset.unknown),
        tone=TONES.get(state, Tone.PLAIN),
        name=_clean(text_of(node, "name"), charset) or "-",
        hidden=more,
        hidden_tone=Tone.BAD if hidden is not None and hidden.failed else Tone.DIM,
        words={
            _Column.CLASS: cut(_clean(_class(node), charset), _CLASS_MOST, charset.ellipsis),
            _Column.STATE: _clean(state, charset) or "-",
            _Column.WHEN: _when(node, state, now),
            _Column.RESTARTS: _restarts(node, state, charset, root=not guide),
        },
        owned=_owned(node, charset),
        failure=failure,
        failure_age=failure_age,
        failure_tone=Tone.BAD if state in {"failed", "restarting"} else Tone.DIM,
    )


def _clean(text: str, charset: Charset) -> str:
    text = printable(text)
    if charset.ascii_only and not text.isascii():
        return text.encode("ascii", "replace").decode("ascii")
    return text


def _class(node: Node) -> str:
    name = text_of(node, "class").rpartition(".")[2]
    if name == "Supervisor":
        return text_of(mapping_of(node, "policy"), "strategy") or name
    return name


def _when(node: Node, state: str, now: float) -> str:
    if state == "restarting":
        wait = number_of(node, "next_try")
        if wait is None:
            return ""
        if wait < _MINUTE:
            return f"next try in {max(wait, 0.0):.1f} s"
        return f"next try in {duration(wait)}"
    if state in {"stopped", "finished", "failed"}:
        return _ago(text_of(node, "ended_at"), now)
    uptime = number_of(node, "uptime")
    return "" if uptime is None else f"up {duration(uptime)}"


def _restarts(node: Node, state: str, charset: Charset, *, root: bool) -> str:
    restarts = number_of(node, "restarts")
    if restarts is None:
        return ""
    if not restarts and (root or state in {"new", "stopped", "finished"}):
        return ""
    return f"{charset.restarts}{int(restarts)}"


def _owned(node: Node, charset: Charset) -> str:
    owned = mapping_of(node, "owned")
    parts: list[str] = []
    for key in ("greenlets", "timers", "listeners"):
        count = count_of(owned, key)
        if count:
            parts.append(f"{count} {key if count > 1 else key[:-1]}")
    return charset.between.join(parts)


def _failure(node: Node, now: float, charset: Charset) -> tuple[str, str]:
    failure = mapping_of(node, "last_failure")
    said = [text_of(failure, "type").rpartition(".")[2], text_of(failure, "message")]
    text = _clean(": ".join(filter(None, said)), charset)
    age = _ago(text_of(failure, "at"), now)
    return text, f" ({age})" if text and age else ""


def _ago(moment: str, now: float) -> str:
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return f"{duration(now - then.timestamp())} ago"


def _layout(rows: list[_Row], width: int) -> dict[_Column, int]:
    """Share the width among the columns; the ones that fell away are not in the result."""
    natural = {column: max(cell_len(row.words[column]) for row in rows) for column in _WORDS}
    natural[_Column.TREE] = max(row.tree_cells() for row in rows)
    natural[_Column.DETAIL] = max(row.detail_cells() for row in rows)

    guides = max(len(row.guide) for row in rows)
    least = dict(natural)
    least[_Column.TREE] = min(natural[_Column.TREE], max(width // 2, guides + 2 + _NAME_LEAST))
    least[_Column.DETAIL] = min(max(row.failure_cells() for row in rows), _FAILURE_LEAST)
    widths = {column: least[column] for column in _Column if least[column]}
    for column in _FALLS:
        if _taken(widths) <= width:
            break
        widths.pop(column, None)

    widths[_Column.TREE] = min(widths[_Column.TREE], width)
    widths[_Column.TREE] += min(
        width - _taken(widths), natural[_Column.TREE] - widths[_Column.TREE]
    )
    if _Column.DETAIL in widths:
        widths[_Column.DETAIL] += width - _taken(widths)
    elif (spare := width - _taken(widths) - _GAP) > 0 and not least[_Column.DETAIL]:
        widths[_Column.DETAIL] = spare
    return widths


def _shows_owned(rows: list[_Row], room: int) -> bool:
    """Tell whether the detail column has room for what the services own: in all rows or none."""
    return all(row.failure or len(row.owned) <= room for row in rows)


def _taken(widths: Mapping[_Column, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _line(row: _Row, widths: Mapping[_Column, int], charset: Charset, *, owned: bool) -> Line:
    line = _tree(row, widths[_Column.TREE], charset)
    for column in _WORDS:
        if column in widths:
            tone = row.tone if column is _Column.STATE else _WORD_TONES[column]
            line.append((" " * _GAP + pad(row.words[column], widths[column]), tone))
    if _Column.DETAIL in widths:
        room = widths[_Column.DETAIL]
        if row.owned and owned and (not row.failure or row.detail_cells() <= room):
            line.append((" " * _GAP + row.owned, Tone.DIM))
        if row.failure:
            line.append((" " * _GAP + _fitted_failure(row, room, charset), row.failure_tone))
    while not line[-1][0].strip():
        line.pop()
    text, tone = line[-1]
    line[-1] = (text.rstrip(), tone)
    return line


_WORD_TONES: Final[Mapping[_Column, Tone]] = {
    _Column.CLASS: Tone.DIM,
    _Column.WHEN: Tone.PLAIN,
    _Column.RESTARTS: Tone.PLAIN,
}


def _tree(row: _Row, room: int, charset: Charset) -> Line:
    guide = cut(row.guide, max(room - 2, 0), charset.ellipsis)
    left = room - len(guide) - 2
    name_least = min(cell_len(row.name), _NAME_LEAST)
    hidden = row.hidden if len(row.hidden) <= left - name_least else ""
    name = cut(row.name, max(left - len(hidden), 0), charset.ellipsis)
    used = len(guide) + 2 + cell_len(name) + len(hidden)
    line: Line = [
        (guide, Tone.DIM),
        (row.symbol, row.tone),
        (f" {name}", Tone.NAME),
        (hidden, row.hidden_tone),
        (" " * (room - used), Tone.PLAIN),
    ]
    return [(text, tone) for text, tone in line if text]


def _fitted_failure(row: _Row, room: int, charset: Charset) -> str:
    if row.failure_cells() <= room:
        return row.failure + row.failure_age
    left = room - len(row.failure_age)
    if left < _MESSAGE_LEAST:
        return cut(row.failure, room, charset.ellipsis)
    return cut(row.failure, left, charset.ellipsis) + row.failure_age
